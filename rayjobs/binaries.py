"""placeholder until the real one lands"""
import io, os, zipfile, tempfile
from pathlib import Path
from rayjobs.errors import BadBinary
from rayjobs.records import BinaryInfo, BinaryType
def check_content(path, binary_type):
    if binary_type is BinaryType.PYTHON:
        try: compile(path.read_bytes(), "x", "exec")
        except SyntaxError as e: raise BadBinary(f"Binary is not of the right format: {e}")
    elif not zipfile.is_zipfile(path): raise BadBinary("Binary is not of the right format")
def materialise(content, binary, folder):
    folder.mkdir(parents=True, exist_ok=True)
    p = folder / binary.file_name
    if binary.binary_type is BinaryType.PYTHON:
        b = io.BytesIO()
        with zipfile.ZipFile(b, "w") as z: z.writestr(f"{binary.module_name}.py", content)
        content = b.getvalue()
    t = folder / (p.name + str(os.getpid())); t.write_bytes(content); os.replace(t, p)
    return p
def unpack(package):
    d = package.with_suffix(".d")
    if not d.exists(): zipfile.ZipFile(package).extractall(d)
    return d
