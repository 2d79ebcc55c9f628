"""SimAM: a parameter-free attention module (Yang et al., 2021, ICML, PMLR 139)."""

from torch import Tensor, nn

from cbam_ablate.config.schema import AttentionConfig

LAMBDA = 1e-4


class SimAM(nn.Module):
    """`x * sigmoid(1 / e)` with e the energy of each neuron: x (N, C, H, W), the same shape out.

    `1 / e = (x - mean)^2 / (4 (variance + lambda)) + 1/2`, mean and variance over each map (n - 1 in the
    variance, of which a map of one pixel has none).
    """

    def forward(self, x: Tensor) -> Tensor:
        squared = (x - x.mean((2, 3), keepdim=True)).square()
        others = max(1, x.shape[2] * x.shape[3] - 1)
        variance = squared.sum((2, 3), keepdim=True) / others
        return x * (squared / (4 * (variance + LAMBDA)) + 0.5).sigmoid()


def simam(channels: int, cfg: AttentionConfig) -> nn.Module:
    """SimAM, the same for any number of channels."""
    return SimAM()
