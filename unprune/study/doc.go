// Package study runs a deletion request through every answer that is to be
// compared and judges the answers: the table that the demo prints, with the
// gold standard, the order ceiling and the controls that make its figures
// mean something.
package study
