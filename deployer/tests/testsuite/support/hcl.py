"""Parses the Terraform files of the folder named in the first argument and prints them as JSON, file by file."""

import json
import pathlib
import sys

import hcl2

folder = pathlib.Path(sys.argv[1])
files = sorted(folder.glob("*.tf")) + sorted(folder.glob("*.tfvars"))
json.dump({file.name: hcl2.loads(file.read_text(encoding="utf-8")) for file in files}, sys.stdout)
