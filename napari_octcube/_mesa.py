"""Spares Mesa, the OpenGL of most Linux computers, what it crashes on."""

from __future__ import annotations

from vispy.gloo import gl, glir


def keep_programs() -> None:
    """Let vispy delete no GL program on Mesa; a program is small, and there are one or two to a layer.

    Mesa 22.3 (Debian 12) ends the process in a later drawing when programs were linked anew, which vispy does when a
    layer comes into another view, and then one was deleted, which vispy does when a layer goes.
    """
    delete = glir.GlirProgram.delete
    if delete.__module__ == __name__:
        return  # another viewer's dock did so

    def delete_unless_mesa(program: glir.GlirProgram) -> None:
        if "Mesa" not in str(gl.glGetParameter(gl.GL_VERSION)):
            delete(program)

    glir.GlirProgram.delete = delete_unless_mesa
