"""`virb export`: write an encoder for another program, and check that it gives the same embeddings there."""

from __future__ import annotations

import argparse

HELP = "write an encoder for timm, torchvision, safetensors or ONNX, and check that its embeddings are the same there"
EPILOG = """examples:
  virb export mine.pt --to safetensors --out mine.safetensors
  virb export mine.pt --to timm --out mine-timm/            # for timm.create_model("local-dir:mine-timm", pretrained=True)
  virb export mine.pt --to torchvision --out mine.pth
  virb export supervised-objects --to onnx --out net.onnx   # pip install 'virb[onnx]'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("encoder", metavar="ENCODER", help="an encoder file or name")
    parser.add_argument("--to", required=True, choices=("timm", "torchvision", "safetensors", "onnx"))
    parser.add_argument("--out", required=True, metavar="FILE", help="the file (timm: the folder) to write")
    parser.add_argument("--name", default="", help="the network's name in the other library, where it is another")


def run(args: argparse.Namespace) -> int:
    from virb.convert.export import export
    from virb.convert.load import load_encoder

    encoder = load_encoder(args.encoder, device="cpu")
    done = export(encoder, args.out, args.to, name=args.name)
    compared = (
        "not compared: onnxruntime is not installed"
        if done.gap is None
        else f"the same embeddings (within {done.gap:.1g} of the largest value)"
    )
    print(f"{done.path}: {compared}")
    print(f"  {done.how}")
    return 0
