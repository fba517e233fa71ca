// Package workbench is what an analyst does at a desk, between runs: look into sources, try formulas, run cases, explain
// records, export what is staged, list codes that no concept map knows, hold an export against an earlier one, validate
// files, write reports. It reads what package run has left, and changes nothing in a target.
package workbench
