"""Tests of the doctor: each makes a fault, with real servers where it speaks of them."""
