"""Grad-CAM++ (Chattopadhyay et al., 2018, arXiv:1710.11063), as in equation 19 of the paper."""

from __future__ import annotations

from torch import Tensor

from napari_attnseg.explanation.contract import METHODS, FieldMethod, NotSuitedError


@METHODS.register("grad-cam++")
class GradCAMPlusPlus(FieldMethod):
    """Grad-CAM that counts each place of a feature once: for layers without negative activations.

    ``α_k = Σ_u a_k(u) relu(g_k(u))``, ``a = g² / (2 g² + ΣA · g³)``, where ``ΣA`` is the sum of
    the feature over the whole volume. Where g is positive that is ``g / (2 + ΣA · g)``. It is
    derived for features that a ReLU made, and divides by about nothing elsewhere.
    """

    title = "Grad-CAM++"

    def field_weights(self, gradients: Tensor, activations: Tensor, lowest: float) -> Tensor:
        if lowest < 0:
            raise NotSuitedError(
                f"Grad-CAM++ assumes features that are not negative, as after a ReLU; those of "
                f"this layer go down to {lowest:.2g}. Choose another method, such as HiResCAM."
            )
        raised = gradients.relu()
        shares = raised / (2 + activations[:, None, None, None] * raised)
        return shares.sum(dim=(1, 2, 3))
