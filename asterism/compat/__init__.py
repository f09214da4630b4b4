"""The interfaces of other libraries on Asterism's workflows, so that only an import changes."""
