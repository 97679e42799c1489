package onnx

// Field numbers of the format (onnx.proto), for remembering which optional
// fields a file wrote although they hold their zero value.
const (
	modelIRVersion       = 1
	modelProducer        = 2
	modelProducerVersion = 3
	modelDomain          = 4
	modelVersion         = 5
	modelDoc             = 6

	opsetDomain  = 1
	opsetVersion = 2

	pairKey   = 1
	pairValue = 2

	graphName = 2
	graphDoc  = 10

	quantTensor = 1

	nodeName     = 3
	nodeOpType   = 4
	nodeDoc      = 6
	nodeDomain   = 7
	nodeOverload = 8

	functionName     = 1
	functionDoc      = 8
	functionDomain   = 10
	functionOverload = 13

	valueName = 1
	valueDoc  = 3

	attrName    = 1
	attrF       = 2
	attrI       = 3
	attrS       = 4
	attrDoc     = 13
	attrType    = 20
	attrRefName = 21

	tensorDType    = 2
	tensorName     = 8
	tensorRaw      = 9
	tensorDoc      = 12
	tensorLocation = 14

	typeDenotation = 6
	typeElem       = 1
	mapKey         = 1
	opaqueDomain   = 1
	opaqueName     = 2

	dimValue      = 1
	dimParam      = 2
	dimDenotation = 3
)
