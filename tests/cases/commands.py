"""Commands as people mistype them, each with what the answer must say."""

from __future__ import annotations

from typing import NamedTuple


class Misuse(NamedTuple):
    """Words after ``marserve``, and the end of the complaint; the usage above it is that of the command."""

    words: str
    complaint: str


#: Wrong words: refused at once with status 2, before anything is set up.
MISUSES = [
    Misuse("serve --detatch", "there is no option --detatch; did you mean --detach?"),
    Misuse("serve --det", "there is no option --det; did you mean --detach?"),
    Misuse("serve --precison=int8", "there is no option --precison; did you mean --precision?"),
    Misuse("serve --Workers 2", "there is no option --Workers; did you mean --workers?"),
    Misuse("serve --xyzzy", "there is no option --xyzzy"),
    Misuse("serve now", "'now' is one argument too many"),
    Misuse("serve --labels", "--labels: expected one argument"),
    Misuse("serve --precision int9", "--precision: there is no 'int9'; did you mean int8?"),
    Misuse("serve --precision BF16", "--precision: there is no 'BF16'; did you mean bf16?"),
    Misuse("serve --precision bfloat16", "--precision: there is no 'bfloat16'; did you mean bf16?"),
    Misuse("serve --precision q4", "--precision: there is no 'q4'; there are: auto, f32, bf16, int8"),
    Misuse("serve --archive /nope.mar", "--archive: /nope.mar does not exist"),
    Misuse("serve --archive /", "--archive: / holds no *.mar"),
    Misuse("serve --weights /nope.pth", "--weights: /nope.pth does not exist"),
    Misuse("serve --weights untraind", "--weights: untraind does not exist; did you mean untrained?"),
    Misuse("serve --labels /nope", "--labels: /nope does not exist"),
    Misuse("serve --precision int8 --calibration /nope", "--calibration: folder /nope does not exist"),
    Misuse("serve --precision int8 --calibration README.md", "README.md is a file, and a folder is needed"),
    Misuse("serve --workers two", "--workers: 'two' is not a number from 1 to 9999"),
    Misuse("serve --host localhost", "--host: 'localhost' is not an IP address such as 127.0.0.1 or 0.0.0.0"),
    Misuse("build --precision fp32", "--precision: there is no 'fp32'; did you mean f32?"),
    Misuse("build --bogus", "there is no option --bogus"),
    Misuse("logs --line 5", "there is no option --line; did you mean --lines?"),
    Misuse("status -x", "there is no option -x"),
    Misuse("status --version", "there is no option --version"),
    Misuse("status --interval nan", "--interval: 'nan' is not a number from 0.1 to 3600"),
    Misuse("scale resnet18", "the following arguments are required: --workers"),
    Misuse("scale resnet18 --wrkers 2", "there is no option --wrkers; did you mean --workers?"),
    Misuse("deploy resnet18 --archive /nope.mar", "--archive: /nope.mar does not exist"),
    Misuse("token managment", "there is no 'managment'; did you mean management?"),
    Misuse("completion powershell", "there is no 'powershell'; there are: bash, zsh, fish"),
    Misuse("setup sevre", "there is no 'sevre'; did you mean serve?"),
    Misuse("classify --format tabel x", "--format: there is no 'tabel'; did you mean table?"),
    Misuse("classify --format json x", "--format: there is no 'json'; did you mean jsonl?"),
    Misuse("classify --top-k 0 x", "--top-k: '0' is not a number from 1 to 1000"),
]
