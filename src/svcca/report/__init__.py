"""Pictures and pages: everything a person looks at."""
