"""How the documentation site is built: ``make docs`` writes it to docs/_build; every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import build_reference  # noqa: E402

import virb  # noqa: E402

project = "virb"
author = "the virb authors"
release = version = virb.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_render_markdown_format = "myst"
nb_execution_mode = "off"  # docs/run_notebook.py runs it, and a test does
exclude_patterns = ["_build", "jupyter_execute", "releasing.md"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
# A page is read on its own, too: some begin below a title that another file gives.
suppress_warnings = ["myst.header"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
add_module_names = False
napoleon_google_docstring = True
nitpicky = False
html_theme = "furo"
html_title = f"virb {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True


def setup(app):
    app.connect("builder-inited", lambda app: build_reference.write(HERE / "reference"))
