"""For a paper: title and footnote go to a file, for the caption; figures are as wide as a column or the page."""

from virb.contracts.style import Style

STYLE = Style(
    name="paper",
    summary="no title or footnote (they go to NAME-caption.txt), and every figure a column or a page wide",
    is_asked_for=True,
    has_words=False,
    widths=(3.3, 6.9),
    formats=("png", "svg", "pdf"),
)
