import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Packed weights are recognized by their tensors, whatever the config says.
@Suite struct PackedTensorsTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Tensors of a layer as a tool writes them, and the first one that holds packed weights.
  struct Kind: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var tensors: [(String, ScalarType, [Int])]
    var packed: String?

    init(_ name: String, _ tensors: [(String, ScalarType, [Int])], _ packed: String?) {
      (testDescription, self.tensors, self.packed) = (name, tensors, packed)
    }
  }

  static let kinds = [
    Kind(
      "GPTQ", [("q.scales", .f16, [2, 8]), ("q.qweight", .i32, [8, 8]), ("q.g_idx", .i32, [64])],
      "q.qweight"),
    Kind(
      "bitsandbytes in floats", [("q.weight", .bf16, [32, 1]), ("q.weight.absmax", .u8, [8])],
      "q.weight.absmax"),
    Kind(
      "bitsandbytes", [("q.weight", .u8, [128, 1]), ("q.weight.quant_map", .f32, [16])],
      "q.weight"),
    Kind(
      "FP8 in blocks", [("q.weight", .f8e4m3, [16, 8]), ("q.weight_scale_inv", .f32, [1, 1])],
      "q.weight"),
    Kind("FP8 without scales", [("q.weight", .f8e5m2, [16, 8])], "q.weight"),
    Kind(
      "FP8 cast to BF16", [("q.weight", .bf16, [16, 8]), ("q.weight_scale_inv", .f32, [1, 1])],
      "q.weight_scale_inv"),
    Kind(
      "MXFP4", [("e.up_proj_blocks", .u8, [2, 8, 1, 16]), ("e.up_proj_scales", .u8, [2, 8, 1])],
      "e.up_proj_blocks"),
    Kind("W8A8", [("q.weight", .i8, [16, 8]), ("q.weight_scale", .bf16, [16, 1])], "q.weight"),
    Kind(
      "NVFP4", [("q.weight_packed", .u8, [16, 4]), ("q.weight_scale", .f8e4m3, [16, 1])],
      "q.weight_packed"),
    Kind("HQQ in floats", [("q.W_q", .bf16, [16, 8]), ("q.scale", .f16, [16, 1])], "q.W_q"),
    Kind("Marlin", [("q.B", .i32, [4, 16]), ("q.s", .f16, [2, 8])], "q.B"),
    Kind("AQLM", [("q.codes", .i16, [4, 4, 1]), ("q.codebooks", .f16, [1, 9, 1, 8])], "q.codes"),
    Kind("EXL3", [("q.trellis", .i16, [1, 1, 64]), ("q.suh", .f16, [8])], "q.trellis"),
    Kind("MLX", [("q.weight", .u32, [8, 8]), ("q.scales", .f16, [8, 2])], "q.weight"),
    Kind(
      "rotations beside codes", [("q.pairs", .i16, [4, 8]), ("q.scales", .f16, [2, 8])],
      "q.pairs"),
    Kind(
      "2:4 sparse Marlin", [("q.B_24", .i32, [2, 16]), ("q.s", .f16, [2, 8])], "q.B_24"),
    Kind(
      "DFloat11", [("q.encoded_exponent", .u8, [77]), ("q.sign_mantissa", .u8, [512])],
      "q.encoded_exponent"),
    Kind(
      "packed experts",
      [("e.up_proj_packed", .i32, [2, 8, 4]), ("e.up_proj_scale", .f16, [2, 8])],
      "e.up_proj_packed"),
    Kind("flat codes", [("q.weight", .u8, [512]), ("q.scale", .f32, [8])], "q.weight"),
    Kind("codes of 64 bits", [("q.weight", .i64, [8, 4])], "q.weight"),
    // Unquantized models.
    Kind(
      "integers and masks",
      [
        ("position_ids", .i64, [1, 64]), ("attn.bias", .u8, [1, 1, 8, 8]),
        ("attn.masked_bias", .f32, []), ("attn.weight", .f32, [8, 8]), ("t2d", .bool, [64]),
        ("relative_position_index", .i64, [8, 8]), ("logit_scale", .f32, [1]),
        ("bn.num_batches_tracked", .i64, []), ("tid2eid", .i64, [64, 6]),
        ("spiece_model", .u8, [99]),
      ], nil),
    Kind(
      "names like scales",
      [
        ("attn.logit_scale", .f32, [4, 1, 1]), ("attn.index", .i32, [8, 8]),
        ("attn.k_scale", .f32, [1]), ("attn.qkv.weight", .bf16, [8, 8]),
        ("layer_scalar", .f32, [1]), ("codebook.embed", .f32, [4, 8]),
      ], nil),
  ]

  private func open(_ kind: Kind, config: String?) throws -> Model {
    let toys = kind.tensors.map { name, type, shape in
      Toy(
        name, type, shape,
        bytes: [UInt8](repeating: 0, count: shape.reduce(1, *) * type.bitWidth / 8))
    }
    return try Model.open(try scratch.checkpoint(toys, config: config, as: "model"))
  }

  @Test("the tensors decide whether weights are packed", arguments: kinds)
  func recognition(kind: Kind) throws {
    for config in [nil, "{}", #"{"model_type":"llama","quantization_config":null}"#, "{\"a\":"] {
      let model = try open(kind, config: config)
      #expect(model.packedFault?.tensor == kind.packed, "\(config ?? "no config")")
      #expect(model.catalog.tensors.map(\.name) == kind.tensors.map(\.0))
    }
  }

  @Test("whatever would read packed words as numbers refuses, and leaves nothing", arguments: kinds)
  func refusals(kind: Kind) throws {
    guard let packed = kind.packed else { return }
    let model = try open(kind, config: #"{"model_type":"llama"}"#)
    func destination(_ format: Format) -> Destination {
      Destination(path: scratch.path("out"), format: format)
    }
    var errors = [
      Laws.error { () throws(ModelError) in
        try Plan.attaching([], names: [], to: model, at: destination(.pleat))
      }
    ]
    for format in Formats.all {
      errors += [
        Laws.error { () throws(ModelError) in
          try Plan.converting(model, decodingTo: .bf16, to: destination(format))
        },
        Laws.error { () throws(ModelError) in
          try Plan.quantizing(model, Recipe(), to: destination(format))
        },
        Laws.error { () throws(ModelError) in
          try Plan.folding([], into: model, to: destination(format))
        },
      ]
      guard format != .safetensors else { continue }
      errors.append(
        Laws.error { () throws(ModelError) in
          try Plan.converting(model, to: destination(format))
        })
    }
    for error in errors {
      #expect(error?.kind == .unsupported && error?.tensor == packed && error?.hint != nil)
    }
    #expect(try scratch.names() == ["model"])
  }

  @Test("packed words may be copied with their config, byte for byte", arguments: kinds)
  func copies(kind: Kind) throws {
    let config = #"{"quantization_config":{"quant_method":"unheard-of"},"x":1}"#
    let model = try open(kind, config: config)
    let path = scratch.path("copy")
    try Run(try Plan.converting(model, to: Destination(path: path, format: .safetensors)))()
    let copy = try Model.open(path)
    // The writer orders tensors by their types.
    let tensors = [copy, model].map { $0.catalog.tensors.sorted { $0.name < $1.name } }
    #expect(tensors[0] == tensors[1])
    if kind.packed != nil {
      #expect(String(decoding: try scratch.bytes(of: "copy/config.json"), as: UTF8.self) == config)
    }
  }

  // MARK: - Places of the description

  private static let weight = ToyGPTQ("a", 32, 64, seed: 1401)

  @Test(
    "a description is found wherever a config can stand",
    arguments: [
      #"{"text_config":{"quantization_config":%}}"#, #"{"llm_config":{"quantization_config":%}}"#,
      #"{"thinker_config":{"text_config":{"quantization_config":%}}}"#,
      #"{"quantization_config":%,"text_config":{"quantization_config":%}}"#,
      #"{"quantization_config":%,"time_step_limit":[0.0,Infinity],"x":NaN,"y":-Infinity}"#,
    ])
  func places(pattern: String) throws {
    let object = try #require(
      try JSONParser.parse(Array(ToyGPTQ.config().utf8), file: "")["quantization_config"])
    let config = pattern.replacing("%", with: JSONWriter.text(object))
    let path = try scratch.checkpoint(Self.weight.tensors, config: config, as: "model")
    let model = try Model.open(path)
    #expect(model.packedFault == nil)
    #expect(model.catalog.tensors.map(\.isGrouped) == [true])
    // No description is left in an output of plain numbers.
    let out = Destination(path: scratch.path("out"), format: .safetensors)
    try Run(try Plan.converting(model, decodingTo: .f32, to: out))()
    let written = String(decoding: try scratch.bytes(of: "out/config.json"), as: UTF8.self)
    #expect(!written.contains("quantization_config"))
    #expect(written.contains("Infinity") == pattern.contains("Infinity"))
  }

  @Test("descriptions that differ are refused") func contradictions() throws {
    let config =
      #"{"quantization_config":{"quant_method":"gptq","bits":4,"group_size":32},"#
      + #""text_config":{"quantization_config":{"quant_method":"gptq","bits":8,"group_size":32}}}"#
    let model = try Model.open(
      try scratch.checkpoint(Self.weight.tensors, config: config, as: "model"))
    #expect(model.packedFault?.kind == .unsupported)
    #expect(model.packedFault?.what.contains("several quantizations") == true)
  }

  @Test("a file beside config.json completes its description") func completedDescription() throws {
    let config = #"{"quantization_config":{"quant_method":"gptq","bits":8,"group_size":32}}"#
    let path = try scratch.checkpoint(Self.weight.tensors, config: config, as: "model")
    try scratch.write(
      #"{"bits":8,"group_size":32,"dynamic":{"+:a":{"bits":4}}}"#,
      as: "model/quantize_config.json")
    #expect(try Model.open(path).packedFault == nil)
  }

  @Test(
    "AutoRound's descriptions are read by their packing",
    arguments: [
      ("auto_round:auto_gptq", true), ("auto_round:gptq:exllamav2", true),
      ("auto_round:gptqmodel", false), ("auto_round", false),
    ])
  func autoRound(packing: String, isFirstVersion: Bool) throws {
    var weight = Self.weight
    weight.isFirstVersion = isFirstVersion
    let model = try autoRound(weight, #""packing_format":"\#(packing)","data_type":"int""#)
    try model.requireNumbers()
    #expect(model.format == (isFirstVersion ? .gptqV1 : .gptq))
    #expect(try model.floats(of: 0) == weight.values)
  }

  @Test(
    "what AutoRound packs in other ways is refused by name",
    arguments: [
      (#""packing_format":"auto_round:mlx""#, "packing_format auto_round:mlx"),
      (#""data_type":"mx_fp","packing_format":"auto_round""#, "data_type mx_fp"),
      (#""act_bits":8,"packing_format":"auto_round:auto_gptq""#, "act_bits 8"),
      (
        #""packing_format":"auto_round:auto_gptq","rotation_config":{"hadamard_type":"random"}"#,
        "rotation_config"
      ),
      (
        #""packing_format":"auto_round","extra_config":{"b":{"bits":5}}"#, "5 bits of b"
      ),
      (
        #""packing_format":"auto_round:auto_awq","extra_config":{"b":{"bits":8}}"#,
        "8 bits, packed as AWQ"
      ),
    ])
  func otherAutoRound(members: String, found: String) throws {
    let model = try autoRound(Self.weight, members)
    #expect(model.packedFault?.kind == .unsupported)
    #expect(model.packedFault?.found?.contains(found) == true, "\(model.packedFault?.found ?? "")")
    #expect(model.catalog.tensors.allSatisfy { !$0.isGrouped })
  }

  /// A checkpoint that AutoRound describes, with layers of 4 bits and of 16 bits beside others.
  private func autoRound(_ weight: ToyGPTQ, _ members: String) throws -> Model {
    var text = members
    if !text.contains("extra_config") {
      text += #","extra_config":{"a":{"bits":4},"b":{"bits":16,"data_type":"float"}}"#
    }
    return try Model.open(
      try scratch.checkpoint(
        weight.tensors,
        config: #"{"quantization_config":{"quant_method":"auto-round","bits":8,"group_size":32,"#
          + #""sym":false,\#(text)}}"#, as: "model"))
  }

  @Test(
    "a method that only stores weights is a note if no weight is packed, others stay a fault",
    arguments: [("bitsandbytes", true), ("fp8", true), ("bitnet", false)])
  func leftovers(method: String, isNote: Bool) throws {
    let config = #"{"quantization_config":{"quant_method":"\#(method)"}}"#
    let model = try Model.open(
      try scratch.checkpoint([Toy("a.weight", .f16, [4, 64], seed: 1402)], config: config, as: "m"))
    #expect((model.packedFault == nil) == isNote)
    guard isNote else { return }
    let plan = try Plan.converting(
      model, to: Destination(path: scratch.path("out"), format: .safetensors))
    #expect(plan.notes.contains { $0.contains("quant_method \(method)") })
    try Run(plan)()
    #expect(try Model.open(scratch.path("out")).configuration() == [:])
  }
}
