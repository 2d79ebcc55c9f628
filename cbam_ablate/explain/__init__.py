"""What a stored network looks at: Grad-CAM, the attention's own maps, and how much the maps explain."""
