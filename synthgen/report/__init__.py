"""What people read: contact sheets and, later, the report."""
