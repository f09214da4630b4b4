"""The manifest of a project folder: its files and what it depends on.

```
excludes   which files are left out         scanning      reads the folder
model      what a manifest is               dependencies  what files declare
changes    what differs from the manifest   storing       reads and writes the manifest
work       what scanner, keeper and checker do
```
"""
