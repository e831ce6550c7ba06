"""Array types used across the package. All volumes are C-ordered (z, y, x)."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Num

Volume = Num[np.ndarray, "z y x"]  # any number
Mask = Bool[np.ndarray, "z y x"]
FloatVolume = Float[np.ndarray, "z y x"]
TensorVolume = Float[torch.Tensor, "z y x"]
TensorMask = Bool[torch.Tensor, "z y x"]

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
