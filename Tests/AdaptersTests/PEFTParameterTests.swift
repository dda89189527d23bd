import Adapters
import Architectures
import Bytes
import TensorModel
import TestSupport
import Testing

/// PEFT's `target_parameters`: parameters that are not layers, such as stacked experts.
@Suite struct PEFTParameterTests {
  private static let config: JSONValue = [
    "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
  ]

  /// 3 experts: gate_up_proj [3, 20, 16], down_proj [3, 16, 10]; factors nested as PEFT saves them.
  private static let tensors: [(name: String, shape: [Int])] = [
    ("base_model.model.m.0.mlp.experts.base_layer.lora_A.weight", [6, 16]),
    ("base_model.model.m.0.mlp.experts.base_layer.lora_B.weight", [20, 6]),
    ("base_model.model.m.0.mlp.experts.lora_A.weight", [6, 10]),
    ("base_model.model.m.0.mlp.experts.lora_B.weight", [16, 6]),
  ]

  private func pairs(
    _ tensors: [(name: String, shape: [Int])], _ config: JSONValue,
    _ shapes: [(name: String, shape: [Int])], prefersTransposed: Bool = false
  ) throws(ModelError) -> [PairedChange] {
    try Pairing(
      base(shapes),
      transposed: TransposedLayers(modelType: prefersTransposed ? "gpt_oss" : nil)
    )
    .pair(try ToyAdapter.peft(tensors, config).read(), Pairing.Use(index: 0))
  }

  @Test("shapes decide which parameter of a layer is meant", arguments: [false, true])
  func nested(isReversed: Bool) throws {
    let shapes: [(name: String, shape: [Int])] = [
      ("m.0.mlp.experts.down_proj", [3, 16, 10]), ("m.0.mlp.experts.gate_up_proj", [3, 20, 16]),
    ]
    var config = Self.config
    if isReversed {
      config = ["target_parameters": ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"]]
    }
    let found = try pairs(Self.tensors, config, shapes)
    #expect(found.map(\.tensor) == [1, 0])
    #expect(found.compactMap(\.lowRank).map(\.expertCount) == [3, 3])
    #expect(found.compactMap(\.lowRank).map(\.left.vectorCount) == [20, 16])
  }

  @Test("stacks of inputs × outputs get the transposed product") func transposed() throws {
    let found = try pairs(
      Self.tensors, Self.config,
      [("m.0.mlp.experts.gate_up_proj", [3, 16, 20]), ("m.0.mlp.experts.down_proj", [3, 10, 16])])
    #expect(found.map(\.tensor) == [0, 1])
    #expect(found.compactMap(\.lowRank).map(\.left.vectorCount) == [16, 10])
  }

  @Test(
    "the version of PEFT and the architecture decide the orientation of square experts",
    arguments: [
      ("0.17.1", false, true), ("0.18.1", true, true), ("0.19.0", false, true),
      ("0.19.0", true, false), ("0.19.1", false, false), ("0.20.0", true, true),
      ("1.0", false, false),
    ])
  func square(version: String, prefersTransposed: Bool, isTransposed: Bool) throws {
    let tensors: [(name: String, shape: [Int])] = [
      ("m.experts.lora_A.weight", [6, 16]), ("m.experts.lora_B.weight", [16, 6]),
    ]
    let found = try pairs(
      tensors,
      ["target_parameters": ["experts.down_proj"], "peft_version": .string(version)],
      [("m.experts.down_proj", [3, 16, 16])], prefersTransposed: prefersTransposed)
    let product = try #require(found.first?.lowRank)
    #expect(product.left.tensor == (isTransposed ? 0 : 1))
  }

  @Test("without a version, square experts are a question to the user") func unknownVersion() {
    let error = Laws.error { () throws(ModelError) in
      try pairs(
        [("m.experts.lora_A.weight", [6, 16]), ("m.experts.lora_B.weight", [16, 6])],
        ["target_parameters": ["experts.down_proj"]], [("m.experts.down_proj", [3, 16, 16])])
    }
    #expect(error?.kind == .usage && error?.hint?.contains("version of PEFT") == true)
  }

  @Test("a question to the user counts more than the shape of another parameter")
  func unknownVersionOfOne() {
    let error = Laws.error { () throws(ModelError) in
      try pairs(
        Self.tensors.map { ($0.name, $0.shape.map { $0 == 10 ? 16 : $0 }) }, Self.config,
        [
          ("m.0.mlp.experts.gate_up_proj", [3, 20, 16]),
          ("m.0.mlp.experts.down_proj", [3, 16, 16]),
        ])
    }
    #expect(error?.kind == .usage && error?.tensor == "m.0.mlp.experts.down_proj")
  }

  @Test(
    "the product of a square matrix is not transposed, whatever the version and the model",
    arguments: [nil, "0.17.1", "0.18.1", "0.19.0", "0.20.0"], ["gpt_oss", "gpt2", nil])
  func squareMatrix(version: String?, modelType: String?) throws {
    let adapter = ToyAdapter.peft(
      [("h.0.c_proj.lora_A.weight", [2, 12]), ("h.0.c_proj.lora_B.weight", [12, 2])],
      [
        "target_parameters": ["c_proj.weight"],
        "peft_version": version.map { .string($0) } ?? .null,
      ])
    let found = try Pairing(
      base([("h.0.c_proj.weight", [12, 12])]), transposed: TransposedLayers(modelType: modelType)
    ).pair(try adapter.read(), Pairing.Use(index: 0))
    #expect(found.first?.lowRank?.left.tensor == 1 && found.first?.lowRank?.isTransposed == false)
  }

  @Test("a matrix may be a target parameter, too") func matrix() throws {
    let found = try pairs(
      [("m.q.lora_A.weight", [2, 16]), ("m.q.lora_B.weight", [12, 2])],
      ["target_parameters": ["q.weight"]], [("m.q.weight", [12, 16])])
    #expect(found.first?.lowRank?.expertCount == 1)
  }

  @Test("a layer without target parameters is an ordinary layer") func others() throws {
    let found = try pairs(
      [("m.q.lora_A.weight", [2, 16]), ("m.q.lora_B.weight", [12, 2])], Self.config,
      [("m.q.weight", [12, 16])])
    #expect(found.map(\.tensor) == [0])
  }

  /// PEFT 0.21 writes such a name for layers that are parts of stacks in this version of the model.
  @Test("a name without a module is no parameter of a target module") func bareName() throws {
    let tensors: [(name: String, shape: [Int])] = [
      ("m.0.mlp.experts.lora_A.weight", [6, 10]), ("m.0.mlp.experts.lora_B.weight", [16, 6]),
      ("m.0.q.lora_A.weight", [2, 16]), ("m.0.q.lora_B.weight", [12, 2]),
    ]
    let found = try pairs(
      tensors, ["target_modules": ["q"], "target_parameters": ["down_proj"]],
      [("m.0.mlp.experts.down_proj", [3, 16, 10]), ("m.0.q.weight", [12, 16])])
    let counts = found.map { [$0.tensor, $0.lowRank?.expertCount ?? 0] }
    #expect(Set(counts) == [[0, 3], [1, 1]])
  }

  @Test("patterns are matched with the names of parameters") func patterns() throws {
    let config = Self.config.changed(by: [
      "rank_pattern": ["experts.gate_up_proj": 2, "experts.down_proj": 3], "r": 8,
      "alpha_pattern": ["experts.down_proj": 12],
    ])
    let tensors: [(name: String, shape: [Int])] = [
      ("m.mlp.experts.base_layer.lora_A.weight", [6, 16]),
      ("m.mlp.experts.base_layer.lora_B.weight", [20, 6]),
      ("m.mlp.experts.lora_A.weight", [9, 10]), ("m.mlp.experts.lora_B.weight", [16, 9]),
    ]
    let found = try pairs(
      tensors, config,
      [("m.mlp.experts.gate_up_proj", [3, 20, 16]), ("m.mlp.experts.down_proj", [3, 16, 10])])
    #expect(found.compactMap(\.lowRank).map(\.rank) == [2, 3])
    #expect(found.compactMap(\.lowRank).map(\.scale) == [3, 4])
  }

  @Test("a different number of experts is a mismatch") func experts() {
    let error = Laws.error { () throws(ModelError) in
      try pairs(
        Self.tensors, Self.config,
        [
          ("m.0.mlp.experts.gate_up_proj", [2, 20, 16]),
          ("m.0.mlp.experts.down_proj", [2, 16, 10]),
        ])
    }
    #expect(error?.kind == .mismatch)
    #expect(error?.tensor == "m.0.mlp.experts.gate_up_proj")
  }

  @Test("empty factors are malformed, however large the rank is") func emptyFactors() {
    let tensors: [(name: String, shape: [Int])] = [
      ("m.experts.lora_A.weight", [0, 4]), ("m.experts.lora_B.weight", [4, 0]),
    ]
    let config: JSONValue = ["target_parameters": ["experts.up"], "r": JSONValue(1 << 62)]
    #expect(ToyAdapter.peft(tensors, config).fault?.kind == .malformed)
  }

  @Test("factors without a whole number of experts are a mismatch") func rank() {
    for (a, b) in [([5, 16], [20, 5]), ([6, 16], [20, 4]), ([3, 16], [20, 3])] {
      let fault = ToyAdapter.peft(
        [("m.experts.lora_A.weight", a), ("m.experts.lora_B.weight", b)],
        ["target_parameters": ["experts.up"]]
      ).fault
      #expect(fault?.kind == .mismatch)
      #expect(fault?.tensor == "m.experts")
    }
  }
}
