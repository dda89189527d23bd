import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// The path of a layer.
private let queries = "model.layers.2.self_attn.q_proj"

/// The settings in PEFT's `adapter_config.json`.
@Suite struct PEFTConfigTests {

  private func adapter(
    rank: Int = 2, path: String = queries, _ config: JSONValue = [:]
  ) -> ToyAdapter {
    .peft(
      [
        ("base_model.model.\(path).lora_A.weight", [rank, 16]),
        ("base_model.model.\(path).lora_B.weight", [12, rank]),
      ], config)
  }

  @Test(
    "the scale is alpha / rank, or alpha / √rank with rsLoRA",
    arguments: [
      (["lora_alpha": 6], 3.0), (["lora_alpha": .number(0.5)], 0.25), (["lora_alpha": -6], -3),
      (["lora_alpha": 0], 0), (["lora_alpha": 6, "use_rslora": false], 3),
      (["lora_alpha": 6, "use_rslora": .null], 3),
      (["lora_alpha": 6, "use_rslora": true], 6 / 2.0.squareRoot()),
    ] as [(JSONValue, Double)])
  func scale(config: JSONValue, expected: Double) throws {
    #expect(try adapter(config).read().product?.scale == expected)
  }

  @Test("r and lora_alpha are 8 by default, as in PEFT") func defaults() throws {
    for config: JSONValue in [["r": .null, "lora_alpha": .null], ["peft_type": .null]] {
      var adapter = adapter(rank: 8)
      adapter.config = config
      #expect(try adapter.read().product?.scale == 1)
      #expect(try adapter.read().product?.rank == 8)
    }
  }

  /// Patterns, paths, and whether PEFT's `re.match(rf"(.*\.)?({pattern})$", path)` matches.
  static let samples: [(pattern: String, path: String, fits: Bool)] = [
    ("q_proj", queries, true), ("q_proj", "q_proj", true), ("q_proj", "model.k_q_proj", false),
    ("proj", queries, false), ("q_proj", queries + "x", false), ("layers", queries, false),
    ("self_attn.q_proj", queries, true), ("self_attn.q_proj", "a.self_attnXq_proj", true),
    ("attn.q_proj", queries, false), (#"layers\.2\.self_attn\.q_proj"#, queries, true),
    (#"layers\.2\.self_attn\.q_proj"#, "model.layers.12.self_attn.q_proj", false),
    ("layers.(0|2).*q_proj", queries, true), ("layers.(0|1).*q_proj", queries, false),
    ("k_proj|q_proj", queries, true), ("^" + queries, queries, true),
    ("^layers.2.*", queries, false),
    ("q_proj$", queries, true), (".*", queries, true), ("", queries, false),
    ("[qk]_proj", queries, true),
    (#"layers\.\d+\.self_attn\.q_proj"#, queries, true), ("Q_PROJ", queries, false),
  ]

  @Test("a pattern matches a whole path, or all of it after a dot", arguments: samples)
  func patterns(pattern: String, path: String, fits: Bool) throws {
    let ranks = JSONValue.object([.init(pattern, 5)])
    #expect(
      try adapter(rank: fits ? 5 : 2, path: path, ["rank_pattern": ranks]).read().changes.count == 1
    )
    #expect(
      adapter(rank: fits ? 2 : 5, path: path, ["rank_pattern": ranks]).fault?.kind == .mismatch)
    let alphas = JSONValue.object([.init(pattern, .number(10.5))])
    let found = try adapter(path: path, ["alpha_pattern": alphas]).read()
    #expect(found.product?.scale == (fits ? 5.25 : 3))
  }

  @Test("the first matching pattern of the file applies") func order() throws {
    let patterns: [JSONValue] = [
      ["q_proj": 10, "layers.2.*": 20, "k_proj": 30], ["layers.2.*": 20, "q_proj": 10],
      ["k_proj": 30, "v_proj": 40],
    ]
    let scales = try patterns.map { try adapter(["alpha_pattern": $0]).read().product?.scale }
    #expect(scales == [5, 10, 3])
    let found = try adapter(rank: 4, ["rank_pattern": ["self_attn.q_proj": 4, "q_proj": 2]]).read()
    #expect(found.product?.scale == 1.5)
  }

  @Test("a rank pattern and an alpha pattern combine, also with rsLoRA") func together() throws {
    let config: JSONValue = [
      "rank_pattern": ["q_proj": 4], "alpha_pattern": ["q_proj": 12], "use_rslora": true,
    ]
    #expect(try adapter(rank: 4, config).read().product?.scale == 6)
  }

  @Test(
    "invalid values are malformed, and the key is named",
    arguments: [
      (["r": 0], "r"), (["r": -2], "r"), (["r": "2"], "r"), (["r": .number(2.5)], "r"),
      (["r": [2]], "r"), (["lora_alpha": "6"], "lora_alpha"), (["lora_alpha": true], "lora_alpha"),
      (["lora_alpha": .number(.infinity)], "lora_alpha"),
      (["rank_pattern": ["q_proj": "4"]], "rank_pattern"),
      (["rank_pattern": 4], "rank_pattern"), (["rank_pattern": ["q_proj"]], "rank_pattern"),
      (["alpha_pattern": "q_proj"], "alpha_pattern"),
      (["alpha_pattern": ["q_proj": "x"]], "alpha_pattern"),
      (["alpha_pattern": ["q_proj": .null]], "alpha_pattern"),
      (["rank_pattern": ["q_(proj": 4]], "rank_pattern"),
      (["alpha_pattern": ["*": 4]], "alpha_pattern"),
      (["use_qalora": true, "qalora_group_size": 0], "qalora_group_size"),
      (["use_qalora": true, "qalora_group_size": "16"], "qalora_group_size"),
    ] as [(JSONValue, String)])
  func nonsense(config: JSONValue, key: String) {
    let fault = adapter(config).fault
    #expect(fault?.kind == .malformed)
    #expect(fault?.file == "toy")
    #expect(
      fault?.description.contains(key) == true, "\(fault?.description ?? "")")
  }

  @Test("a rank of a pattern that is not a positive integer is malformed", arguments: [0, -1, 2.5])
  func rankPattern(rank: Double) {
    let fault = adapter(["rank_pattern": ["q_proj": .number(rank)]]).fault
    #expect(fault?.kind == .malformed)
    #expect(fault?.tensor == queries)
  }

  @Test(
    "a missing config is malformed, since alpha is unknown",
    arguments: [JSONValue.null, [], "LORA", 1])
  func missing(config: JSONValue) {
    var adapter = adapter()
    adapter.config = config
    #expect(adapter.fault?.kind == .malformed)
    #expect(adapter.fault?.what.contains("adapter_config.json") == true)
    #expect(adapter.fault?.hint?.contains("alpha") == true)
  }

  @Test(
    "other methods of PEFT are refused and named", arguments: ["LOHA", "IA3", "VERA", "lora", ""])
  func methods(type: String) {
    let fault = adapter(["peft_type": .string(type)]).fault
    #expect(fault?.kind == .unsupported)
    #expect(fault?.found == type)
  }

  @Test("fan_in_fan_out prefers a weight with inputs as rows") func transposed() throws {
    #expect(try adapter().read().product?.orientation == .straight)
    #expect(try adapter(["fan_in_fan_out": false]).read().product?.orientation == .straight)
    #expect(
      try adapter(["fan_in_fan_out": true]).read().product?.orientation == .transposedFirst)
  }

  @Test("use_qalora sets the pooling and the group size, 16 by default")
  func qalora() throws {
    let plain = try adapter(["qalora_group_size": 64]).read()
    #expect(plain.pooling == nil && plain.product?.groupSize == nil)
    let usual = try adapter(["use_qalora": true]).read()
    #expect(usual.pooling == .peft && usual.product?.groupSize == 16)
    let wide = try adapter(["use_qalora": true, "qalora_group_size": 64]).read()
    #expect(wide.product?.groupSize == 64)
  }

  @Test("a pooling known from another source overrides the config", arguments: Pooling.allCases)
  func knownPooling(pooling: Pooling) throws {
    for config: JSONValue in [[:], ["use_qalora": true]] {
      var adapter = adapter(config)
      adapter.pooling = pooling
      #expect(try adapter.read().pooling == pooling)
    }
  }

  @Test("targets without tensors are noted") func targets() throws {
    let config: JSONValue = ["target_modules": ["q_proj", "v_proj", "self_attn.q_proj", "lm_head"]]
    let notes = try adapter(config).read().notes
    #expect(notes.count == 1)
    #expect(notes.first?.hasSuffix(": v_proj, lm_head") == true)
    #expect(try adapter(["target_modules": ["q_proj"]]).read().notes == [])
    let saved: JSONValue = ["modules_to_save": ["score", "classifier", "embed_tokens"]]
    let missing = try adapter(saved).read().notes
    #expect(missing.count == 1)
    #expect(missing.first?.hasSuffix("these modules_to_save: embed_tokens") == true)
  }
}
