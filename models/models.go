package models

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
)

//go:embed testdata/fashion-mnist/LICENSE testdata/fashion-mnist/*.gz
//go:embed testdata/lenet-300-100/*.onnx testdata/lenet-300-100/recipe.json
//go:embed testdata/lenet-5/*.onnx testdata/lenet-5/recipe.json
var files embed.FS

// FashionMNIST returns a folder with the four gzipped IDX files of the bundled
// subset under their usual names: train-images-idx3-ubyte.gz [10000,28,28],
// train-labels-idx1-ubyte.gz [10000], t10k-images-idx3-ubyte.gz and
// t10k-labels-idx1-ubyte.gz of the same sizes. Pixels are bytes; the networks
// were trained on (pixel/255 - Recipe.Mean) / Recipe.Deviation.
func FashionMNIST() fs.FS {
	folder, err := fs.Sub(files, "testdata/fashion-mnist")
	if err != nil {
		panic(err) // the name above is not a valid path
	}
	return folder
}

// Net is one network as ONNX files in its three stages. The bytes must not be
// changed.
type Net struct {
	Theta0 []byte // before training
	Dense  []byte // trained, before pruning
	Pruned []byte // pruned and fine-tuned: the file that goes into production
	Recipe Recipe
}

// Recipe tells how a network was made and what it reached. Rates are the peaks
// of cosine schedules that are stepped after each epoch and end at 0.
type Recipe struct {
	Name              string  `json:"name"`
	Torch             string  `json:"torch"` // PyTorch's version
	Seed              uint64  `json:"seed"`  // of the initialisation, in PyTorch
	DenseOrderSeed    uint64  `json:"dense_order_seed"`
	FinetuneOrderSeed uint64  `json:"finetune_order_seed"`
	TrainImages       int     `json:"train_images"`
	TestImages        int     `json:"test_images"`
	Mean              float64 `json:"mean"`
	Deviation         float64 `json:"deviation"`
	Batch             int     `json:"batch"` // the last batch of an epoch may be smaller
	Momentum          float64 `json:"momentum"`
	WeightDecay       float64 `json:"weight_decay"`
	DenseEpochs       int     `json:"dense_epochs"`
	DenseRate         float64 `json:"dense_rate"`
	Sparsity          float64 `json:"sparsity"` // share of each weight matrix that is pruned
	FinetuneEpochs    int     `json:"finetune_epochs"`
	FinetuneRate      float64 `json:"finetune_rate"`
	TestAccuracy      Stages  `json:"test_accuracy"`  // in [0,1]
	TrainAccuracy     Stages  `json:"train_accuracy"` // in [0,1]
	LayerSparsity     Named   `json:"layer_sparsity"`
	DistanceToTheta0  Named   `json:"distance_to_theta0"` // ||theta_d - theta_0|| per parameter, theta_d the dense stage
	SHA256            Sums    `json:"sha256"`
}

// Stages holds one number for each stage of a network.
type Stages struct {
	Theta0 float64 `json:"theta0"`
	Dense  float64 `json:"dense"`
	Pruned float64 `json:"pruned"`
}

// Named holds one number for each parameter, by PyTorch's name.
type Named map[string]float64

// Sums holds checksums in hexadecimal by file name, relative to the network's folder.
type Sums map[string]string

// LeNet300 returns LeNet-300-100, a multi-layer perceptron 784-300-100-10 with
// ReLU. Input [batch,1,28,28], output logits [batch,10]; parameters
// fc1..fc3.weight [out,in] and .bias [out].
func LeNet300() Net { return load("testdata/lenet-300-100/") }

// LeNet5 returns LeNet-5 with ReLU and max pooling. Input [batch,1,28,28],
// output logits [batch,10]; parameters conv1 (6 filters 5x5, padding 2), conv2
// (16 filters 5x5), fc1 (120), fc2 (84), fc3 (10), each with .weight and .bias.
func LeNet5() Net { return load("testdata/lenet-5/") }

// load reads one network from the embedded files. They are part of the program
// and checked by its tests, so that a failure here is a broken build.
func load(folder string) Net {
	read := func(name string) []byte {
		data, err := files.ReadFile(folder + name)
		if err != nil {
			panic(fmt.Sprintf("models: embedded file: %v", err))
		}
		return data
	}
	net := Net{Theta0: read("theta0.onnx"), Dense: read("dense.onnx"), Pruned: read("pruned.onnx")}
	if err := json.Unmarshal(read("recipe.json"), &net.Recipe); err != nil {
		panic(fmt.Sprintf("models: embedded file %srecipe.json: %v", folder, err))
	}
	return net
}
