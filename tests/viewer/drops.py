"""Files dropped on a viewer."""

from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication


def drop(widget, paths, modifiers=Qt.KeyboardModifier.NoModifier):
    """Drop files as the window system does; return whether the widget took the drag at all."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    point, action = QPointF(10, 10), Qt.DropAction.CopyAction
    button = Qt.MouseButton.LeftButton
    drag = QDragEnterEvent(point.toPoint(), action, data, button, modifiers)
    QApplication.sendEvent(widget, drag)
    QApplication.sendEvent(widget, QDropEvent(point, action, data, button, modifiers))
    return drag.isAccepted()


def canvas_of(viewer):
    """The widget that napari takes drops on."""
    return viewer.window._qt_viewer
