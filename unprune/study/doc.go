// Package study measures answers to deletion requests.
//
// A Comparison runs one request through every answer that is to be compared
// and judges the answers: the table that the demo prints, with the gold
// standard, the order ceiling and the controls that make its figures mean
// something.
//
// A Grid runs many: a Spec, read from YAML, names models, pruners, requests,
// seeds and methods; every answer becomes one line of JSON in a file that
// survives being killed, and networks that answers share are trained once.
// Summarize gathers the lines over seeds.
package study
