"""Retail's procedural worker: `workshop.RetailWorkshop` casts a customer and serves its errands."""
