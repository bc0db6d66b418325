"""Networks: one transformer block, one attention function and one position embedding serve every model."""
