"""Networks, losses, optimizers, and the device they run on."""
