package report

import (
	"bytes"
	"encoding/base64"
	"image/color"
	"image/png"
	"strings"
	"testing"

	"github.com/unprune/unprune/sparsity"
)

func maskWith(keep []int, shape ...int) *sparsity.Mask {
	m := sparsity.NewMask(shape...)
	for _, i := range keep {
		m.Set(i, true)
	}
	return m
}

func TestMaskPage(t *testing.T) {
	var b bytes.Buffer
	err := WriteMasks(&b, "A & B", []MaskPair{
		{"conv", maskWith([]int{0, 1}, 2, 3), maskWith([]int{1, 5}, 2, 3)},
		{"large", maskWith(nil, 600, 700), maskWith([]int{3}, 600, 700)},
		{"nothing", maskWith(nil, 0, 3), maskWith(nil, 0, 3)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A &amp; B", "1 added, 1 dropped, 1 kept of 6", "a cell is one weight", "3 × 3 weights"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	_, rest, _ := strings.Cut(b.String(), "base64,")
	text, _, _ := strings.Cut(rest, `"`)
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "&#43;", "+"))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	dropped, added := picture.At(0, 0), picture.At(2, 1)
	if c := color.RGBAModel.Convert(dropped).(color.RGBA); c.R < 150 || c.G > 100 {
		t.Errorf("a dropped weight is drawn %v", c)
	}
	if c := color.RGBAModel.Convert(added).(color.RGBA); c.G < 100 || c.R > 50 {
		t.Errorf("an added weight is drawn %v", c)
	}
	if err := WriteMasks(&b, "", []MaskPair{{"x", maskWith(nil, 2), maskWith(nil, 3)}}); err == nil {
		t.Error("masks of different sizes were accepted")
	}
}
