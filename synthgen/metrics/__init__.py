"""Measures of whole sets: functions on arrays; none of them knows a dataset or a file."""
