package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

// A Report is the content of a page. Parts that are empty are left out.
type Report struct {
	Title       string
	Summary     string    // one sentence: what was asked of which network
	Verdict     []Finding // the first screen, in order of importance
	Networks    []Network // the main one first
	Files       []File    // what was written, and how it was verified
	Certificate *Certificate
	Command     string // repeats the run
	Provenance  []Item // hashes, versions, seed
}

// A Finding answers one question about the run.
type Finding struct {
	Question string // "Was it forgotten?"
	Answer   string // a few words or a figure
	Detail   string // a sentence or two that supports the answer
	Tone     Tone
}

// A Tone is how good an answer is.
type Tone string

// Tones.
const (
	Neutral Tone = ""
	Good    Tone = "good"
	Caution Tone = "caution"
	Bad     Tone = "bad"
)

// An Item is a named value.
type Item struct{ Name, Value string }

// A Network is the comparison of all answers on one network.
type Network struct {
	Name        string
	Setting     []Item
	Rows        []Row
	Diagnostics []Diagnostic
	Masks       []MaskPair // the original's and the answer's
	Bounds      []Bound
}

// A Role decides how a row is highlighted.
type Role string

// Roles. The first Gold row is what the others are compared with.
const (
	Plain  Role = ""
	Answer Role = "answer" // what the run delivers
	Gold   Role = "gold"   // a gold standard: retrained, then pruned
)

// A Row is one answer to the deletion request. Figures that were not measured
// are NaN.
type Row struct {
	Name  string // short, as in JSON output
	Label string // for people; empty: Name
	Role  Role

	IoU        float64 // of the kept weights with gold's, 0 to 1
	KLTest     float64 // KL(gold‖row) on test data, nats
	KLForget   float64 // on the forgotten samples
	UA, RA, TA float64 // accuracy on forgotten, retained and test samples, percent
	Passes     float64 // training passes over the retained data
	Seconds    float64

	// Intervals of the figures of the same names.
	KLTestRange, KLForgetRange, UARange, TARange Range

	Layers     []Layer
	Confidence []int     // forgotten samples by their largest probability, equal bins over [0, 1]
	Spread     []float64 // of KL(gold‖row) over the forgotten samples: its 5, 25, 50, 75 and 95 % quantiles
	Attack     *Attack   // nil: not attacked
}

// A Range is a 95 % interval. The zero Range stands for none.
type Range struct{ Low, High float64 }

// An Attack is how well the forgotten samples can be told from samples of the
// same classes that the network never saw. AUC 0.5 is not at all; TPR is the
// share of them that is found while 1 % of the others is called forgotten.
type Attack struct {
	AUC, TPR           float64
	AUCRange, TPRRange Range
	Curve              []Point // from (0, 0) to (1, 1)
}

// A Point is one threshold of an attack.
type Point struct{ FPR, TPR float64 }

// A Layer is a row's mask overlap with gold in one layer.
type Layer struct {
	Name        string
	IoU, Chance float64 // measured, and of random masks with as many kept weights
	Kept, Total int     // weights
}

// A Bound says how many bits of a mask a distance of weights allows to differ,
// beside how many do.
type Bound struct {
	Distance string   // which distance it assumes, in words
	Layers   []Margin // the total last
}

// A Margin is a bound on one layer's mask.
type Margin struct {
	Name            string
	Distance        float64
	Kept, MostFlips int
	Flips           int     // measured
	IoU, LeastIoU   float64 // measured, and at least by the bound
	Chance          float64 // of random masks
	Vacuous         bool    // the bound is no better than chance
}

// A Certificate is the signed statement about the deletion.
type Certificate struct {
	Statement string // what it binds, in a sentence
	Items     []Item
	Command   string // checks it
}

// A Diagnostic is a figure that tells signal from noise.
type Diagnostic struct{ Label, Value, Explanation string }

// A File is an output and its verification in a second runtime.
type File struct {
	Path     string
	Content  string  // what it holds, in words
	SHA256   string  // hexadecimal
	Verified string  // by what, or why not: "ONNX Runtime 1.32.0"
	OK       bool    // whether verification was done and held
	AbsErr   float64 // largest absolute difference of an output; NaN: not measured
	RelErr   float64 // largest relative one
}

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// Write writes the report to w as one HTML page. Nothing is written unless
// all of the page could be made.
func Write(w io.Writer, r Report) error {
	v, err := newView(r)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
