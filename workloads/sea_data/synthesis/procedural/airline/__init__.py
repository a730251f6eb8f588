"""Airline's procedural worker: `workshop.AirlineWorkshop` plays a customer's call."""
