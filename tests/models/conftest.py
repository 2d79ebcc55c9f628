from cbam_ablate.torchvision_shim import import_torchvision

import_torchvision()
