"""Tasks, where their texts come from, and how they are spread over clients."""
