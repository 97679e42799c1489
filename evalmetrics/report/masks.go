package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"io"

	"github.com/unprune/unprune/sparsity"
)

// A MaskPair is one layer's mask before and after.
type MaskPair struct {
	Name          string
	Before, After *sparsity.Mask
}

//go:embed masks.html
var masksPage string

var masksTemplate = template.Must(template.New("masks").Parse(masksPage))

// mapSize is the largest extent of a heat map; larger layers have several
// weights in a cell.
const mapSize = 256

type maskView struct {
	Name                        string
	Shape                       []int
	Added, Dropped, Kept, Total int
	Cells                       string
	Image                       template.URL
	Width, Height               int
}

// WriteMasks writes a self-contained page that shows, layer by layer, where
// weights came back (added) and where they went (dropped). Rows of a map are
// positions along the tensor's first axis, columns all others.
func WriteMasks(w io.Writer, title string, layers []MaskPair) error {
	page := struct {
		Title  string
		Layers []maskView
	}{Title: title}
	for _, l := range layers {
		v, err := newMaskView(l, mapSize)
		if err != nil {
			return err
		}
		page.Layers = append(page.Layers, v)
	}
	if err := masksTemplate.Execute(w, page); err != nil {
		return fmt.Errorf("report: masks: %w", err)
	}
	return nil
}

// newMaskView draws a layer in at most limit by limit cells.
func newMaskView(l MaskPair, limit int) (maskView, error) {
	if l.Before.Len() != l.After.Len() {
		return maskView{}, fmt.Errorf("report: the masks of %q have %d and %d weights", l.Name, l.Before.Len(), l.After.Len())
	}
	v := maskView{
		Name: l.Name, Shape: l.Before.Shape(), Total: l.Before.Len(),
		Added: l.After.AndNot(l.Before).Count(), Dropped: l.Before.AndNot(l.After).Count(), Kept: l.After.And(l.Before).Count(),
	}
	if v.Total == 0 {
		return v, nil
	}
	picture, rows, columns := heat(l, limit)
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return v, fmt.Errorf("report: masks of %q: %w", l.Name, err)
	}
	// What is encoded here is a picture that this program drew.
	v.Image = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
	v.Width, v.Height = picture.Bounds().Dx(), picture.Bounds().Dy()
	v.Cells = "one weight"
	if rows > v.Height || columns > v.Width {
		v.Cells = fmt.Sprintf("%d × %d weights", (rows+v.Height-1)/v.Height, (columns+v.Width-1)/v.Width)
	}
	return v, nil
}

// heat draws one cell per weight, or per rectangle of weights: blue for added,
// vermilion for dropped, which nobody confuses, on grey where weights stayed. A
// colour is as strong as its share of the cell, the fullest cell's being full:
// a sparse layer would be pale otherwise.
func heat(l MaskPair, limit int) (picture *image.RGBA, rows, columns int) {
	rows = 1
	if shape := l.Before.Shape(); len(shape) > 0 {
		rows = shape[0]
	}
	columns = l.Before.Len() / rows
	height, width := min(rows, limit), min(columns, limit)
	type cell struct{ all, added, dropped, kept float64 }
	cells := make([]cell, height*width)
	for i := range l.Before.Len() {
		c := &cells[i/columns*height/rows*width+i%columns*width/columns]
		c.all++
		switch before, after := l.Before.Get(i), l.After.Get(i); {
		case before && after:
			c.kept++
		case before:
			c.dropped++
		case after:
			c.added++
		}
	}
	fullest := 0.0
	for _, c := range cells {
		fullest = max(fullest, (c.added+c.dropped+c.kept)/max(c.all, 1))
	}
	picture = image.NewRGBA(image.Rect(0, 0, width, height))
	for i, c := range cells {
		blend := func(base, added, dropped, kept float64) uint8 {
			full := max(c.all*fullest, 1)
			rest := full - c.added - c.dropped - c.kept
			return uint8((base*rest + added*c.added + dropped*c.dropped + kept*c.kept) / full)
		}
		picture.SetRGBA(i%width, i/width, color.RGBA{R: blend(250, 0, 213, 190), G: blend(250, 114, 94, 194), B: blend(250, 178, 0, 200), A: 255})
	}
	return picture, rows, columns
}
