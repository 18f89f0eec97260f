"""When: waits, schedules, renewals, and what the exchange's clock says."""
