"""The mathematics, on the array API standard alone: layers, losses and their derivatives."""
