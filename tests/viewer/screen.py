"""What the canvas shows, as pixels."""


def canvas(viewer, qtbot):
    """The canvas once it has drawn what changed last, without the scale bar: (rows, columns, 3)."""
    qtbot.wait(200)
    viewer.canvas.overlays.scale_bar.visible = False
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


def saturation(pixels):
    """How colourful each pixel is, 0 for grey."""
    return pixels.max(axis=-1) - pixels.min(axis=-1)
