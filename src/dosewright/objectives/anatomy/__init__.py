"""How a patient's own anatomy changes what a plan is asked for: measures, rules as data, explanations."""
