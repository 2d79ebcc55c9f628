"""Attention modules, one file each."""
