package kernel

import "fmt"

// LossReduction is what becomes of the losses of the samples.
type LossReduction int

// LossMean divides the sum by the sum of the weights of the labels.
const (
	LossMean LossReduction = iota
	LossSum
	LossNone
)

// CrossEntropySpec describes a loss over logits of shape (Samples, Classes,
// Inner) and int64 labels of shape (Samples, Inner).
type CrossEntropySpec struct {
	Samples, Classes, Inner int
	Reduction               LossReduction
	HasIgnore               bool // whether labels equal to Ignore count for nothing
	Ignore                  int64
}

// CrossEntropy is the loss -weight[label] log softmax(logits)[label].
type CrossEntropy[T Float] struct {
	spec    CrossEntropySpec
	softmax *Softmax[T]

	dx, dLoss, logProbs, weights []T
	labels                       []int64
	scale                        T
	backward                     func(*Worker, int)
}

// NewCrossEntropy prepares the loss.
func NewCrossEntropy[T Float](spec CrossEntropySpec) *CrossEntropy[T] {
	c := &CrossEntropy[T]{spec: spec, softmax: NewSoftmax[T](spec.Samples, spec.Classes, spec.Inner, true)}
	c.backward = c.backwardUnit
	return c
}

// Forward writes the log-probabilities, shaped like the logits, and the loss:
// one number, or one per label for LossNone. weights has one number per class,
// or is nil. A label that is no class is an error.
func (c *CrossEntropy[T]) Forward(t *Team, loss, logProbs, logits []T, labels []int64, weights []T) error {
	if err := c.check(labels); err != nil {
		return err
	}
	c.softmax.Forward(t, logProbs, logits)
	var sum, total float64
	for i, label := range labels {
		var l, w float64
		if !c.ignored(label) {
			w = float64(weightOf(weights, label))
			l = -w * float64(logProbs[c.at(i, label)])
		}
		if c.spec.Reduction == LossNone {
			loss[i] = T(l)
		}
		sum += l
		total += w
	}
	switch c.spec.Reduction {
	case LossMean:
		loss[0] = T(sum / total)
	case LossSum:
		loss[0] = T(sum)
	}
	return nil
}

// Backward writes the gradient of the logits,
//
//	dx = dLoss weight[label] (exp(logProbs) - onehot(label))
//
// divided, for LossMean, by the sum of the weights; 0 where the label is
// ignored. dLoss has as many elements as the loss; dx may be logProbs.
func (c *CrossEntropy[T]) Backward(t *Team, dx, dLoss, logProbs []T, labels []int64, weights []T) {
	c.dx, c.dLoss, c.logProbs, c.labels, c.weights = dx, dLoss, logProbs, labels, weights
	c.scale = 1
	if c.spec.Reduction == LossMean {
		c.scale = T(1 / c.totalWeight(labels, weights))
	}
	t.For(ceilDiv(c.spec.Samples, c.samplesPerUnit()), c.backward)
	c.dx, c.dLoss, c.logProbs, c.labels, c.weights = nil, nil, nil, nil, nil
}

func (c *CrossEntropy[T]) samplesPerUnit() int {
	return max(1, unitSize/max(1, c.spec.Classes*c.spec.Inner))
}

func (c *CrossEntropy[T]) backwardUnit(_ *Worker, unit int) {
	s := &c.spec
	n := c.samplesPerUnit()
	first, last := unit*n, min((unit+1)*n, s.Samples)
	size := s.Classes * s.Inner
	Exp(c.dx[first*size:last*size], c.logProbs[first*size:last*size])
	for i := first * s.Inner; i < last*s.Inner; i++ {
		label := c.labels[i]
		var factor T
		if !c.ignored(label) {
			c.dx[c.at(i, label)]--
			factor = c.scale * weightOf(c.weights, label) * c.dLoss[min(i, len(c.dLoss)-1)]
		}
		c.scaleClasses(i, factor)
	}
}

// scaleClasses multiplies the gradients of label i's logits.
func (c *CrossEntropy[T]) scaleClasses(i int, factor T) {
	if c.spec.Inner == 1 {
		row := c.dx[i*c.spec.Classes : (i+1)*c.spec.Classes]
		Scale(row, factor, row)
		return
	}
	for class := range c.spec.Classes {
		c.dx[c.at(i, int64(class))] *= factor
	}
}

// at is the position of a class among the logits that belong to label i.
func (c *CrossEntropy[T]) at(i int, class int64) int {
	return (i/c.spec.Inner*c.spec.Classes+int(class))*c.spec.Inner + i%c.spec.Inner
}

func (c *CrossEntropy[T]) ignored(label int64) bool {
	return c.spec.HasIgnore && label == c.spec.Ignore
}

func (c *CrossEntropy[T]) check(labels []int64) error {
	for i, label := range labels {
		if (label < 0 || label >= int64(c.spec.Classes)) && !c.ignored(label) {
			return fmt.Errorf("kernel: label %d at position %d is not a class: want 0 to %d", label, i, c.spec.Classes-1)
		}
	}
	return nil
}

func (c *CrossEntropy[T]) totalWeight(labels []int64, weights []T) float64 {
	var total float64
	for _, label := range labels {
		if !c.ignored(label) {
			total += float64(weightOf(weights, label))
		}
	}
	return total
}

func weightOf[T Float](weights []T, class int64) T {
	if weights == nil {
		return 1
	}
	return weights[class]
}
