"""Networks: backbones, projections, and the frozen encoder around them."""
