"""The operator's tools. Each has `main`; nothing that serves ever imports one."""
