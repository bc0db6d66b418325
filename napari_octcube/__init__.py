"""The OCT viewer: a napari plugin and the command ``octcube-viewer``. The models run in another process."""
