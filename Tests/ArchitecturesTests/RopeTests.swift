import Architectures
import Bytes
import TensorModel
import TestSupport
import Testing

/// Scalings of rotary embeddings in `config.json`; the interop tests compare them with transformers.
@Suite struct RopeTests {
  private func parameters(
    _ rope: JSONValue, type: String = "llama", with changes: JSONValue = [:]
  ) throws(ModelError) -> Hyperparameters {
    let config: JSONValue = [
      "num_hidden_layers": 2, "max_position_embeddings": 1024, "hidden_size": 64,
      "intermediate_size": 96, "num_attention_heads": 4, "rms_norm_eps": .number(1e-6),
      "rope_scaling": rope,
    ]
    guard let architecture = Architectures.forModelType(type) else {
      throw ModelError(.usage, "no such type")
    }
    return try Hyperparameters(config.overridden(by: changes), architecture, tokenCount: 10)
  }

  private func yarn(_ changes: JSONValue) throws -> RopeParameters.Yarn {
    let rope: JSONValue = ["type": "yarn", "factor": 8]
    let scaling = try parameters(rope.overridden(by: changes)).rope.scaling
    let yarn: RopeParameters.Yarn? = if case .yarn(let yarn) = scaling { yarn } else { nil }
    return try #require(yarn)
  }

  @Test("the attention factor of YaRN is that of transformers, relative to the default one")
  func attention() throws {
    // 0.1 · ln 8 + 1
    let usual = 1.2079441541679836
    let cases: [(JSONValue, Double)] = [
      ([:], usual), (["attention_factor": .null], usual), (["attention_factor": .number(1.5)], 1.5),
      (["mscale": 1], usual), (["mscale": 0, "mscale_all_dim": 1], usual),
      (["mscale": 1, "mscale_all_dim": 1], 1),
      (["mscale": .number(0.5), "mscale_all_dim": 2], 1.1039720770839919 / 1.4158883083359672),
      (["mscale": 2, "mscale_all_dim": 1, "attention_factor": .number(0.25)], 0.25),
    ]
    for (changes, expected) in cases {
      let found = try yarn(changes)
      #expect(abs(found.wholeAttentionFactor - expected) < 1e-12, "\(changes)")
      #expect(abs(found.relativeAttentionFactor - expected / usual) < 1e-12, "\(changes)")
    }
    #expect(try yarn([:]).relativeAttentionFactor == 1)
  }

  @Test("only other limits of YaRN need divisors in a tensor") func limits() throws {
    for changes in [
      [:], ["beta_fast": 32, "beta_slow": 1], ["truncate": true], ["beta_fast": 0],
      ["beta_slow": .null],
    ] as [JSONValue] {
      #expect(try yarn(changes).hasDefaultLimits, "\(changes)")
    }
    for changes in [["beta_fast": 16], ["beta_slow": 2], ["truncate": false]] as [JSONValue] {
      #expect(try !yarn(changes).hasDefaultLimits, "\(changes)")
    }
    let rope: JSONValue = [
      "rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 128, "beta_fast": 8,
      "beta_slow": .number(0.5),
    ]
    // The limits are 0.81 and 3.22 of 8 pairs, by the formula in transformers.
    func expected(_ low: Double, _ high: Double) -> [Float] {
      (0..<8).map { index in
        let ramp = min(max((Double(index) - low) / (high - low), 0), 1)
        return Float(1 / (ramp / 4 + 1 - ramp))
      }
    }
    #expect(try parameters(rope).rope.frequencyFactors(headSize: 16) == expected(0, 4))
    let exact = try #require(
      try parameters(rope.overridden(by: ["truncate": false])).rope.frequencyFactors(headSize: 16))
    for (found, expected) in zip(exact, expected(0.8118802285956195, 3.220120193907469)) {
      #expect(abs(found - expected) < 1e-6)
    }
    let linear = try parameters(["rope_type": "linear", "factor": 2]).rope
    #expect(linear.frequencyFactors(headSize: 16) == nil)
  }

  @Test("the original context is that of the model if the config does not state it")
  func originalContext() throws {
    let rope: JSONValue = ["rope_type": "yarn", "factor": 2]
    #expect(try parameters(rope).rope.originalContextLength == 1024)
    let key = "original_max_position_embeddings"
    let beside = JSONValue.object([.init(key, 64)])
    #expect(try parameters(rope, with: beside).rope.originalContextLength == 64)
    let inside = rope.overridden(by: .object([.init(key, 32)]))
    #expect(try parameters(inside, with: beside).rope.originalContextLength == 32)
  }

  @Test("Phi 3 takes all its scalings for longrope, with the factor of attention of transformers")
  func phi() throws {
    let factors = JSONValue.array(Array(repeating: .number(1.5), count: 8))
    let original: JSONValue = ["original_max_position_embeddings": 256]
    // Square roots of 1 + ln 4 / ln 256 and 1 + ln 2 / ln 256.
    for (changes, expected) in [
      ([:], 1.118033988749895), (["factor": 2], 1.0606601717798212),
      (["factor": 2, "attention_factor": .number(1.75)], 1.75), (["factor": 1], 1),
    ] as [(JSONValue, Double)] {
      for type in ["su", "longrope", "yarn"] {
        let rope: JSONValue = [
          "type": .string(type), "long_factor": factors, "short_factor": factors,
        ]
        let found = try parameters(rope.overridden(by: changes), type: "phi3", with: original).rope
        #expect(found.scaling.kind == .longrope && found.originalContextLength == 256)
        #expect(abs((found.attentionFactor ?? 0) - expected) < 1e-12)
      }
    }
    let short: JSONValue = ["type": "su", "long_factor": factors, "short_factor": [1, 2]]
    let error = Laws.error { () throws(ModelError) in try parameters(short, type: "phi3") }
    #expect(error?.kind == .malformed && error?.tensor == "short_factor")
  }

  @Test(
    "a scaling without a type is malformed, with a guess",
    arguments: [
      (["factor": 8], "linear"), (["factor": 8, "low_freq_factor": 1], "llama3"),
      (["rope_type": .null, "long_factor": [1]], "longrope"), (["beta_fast": 8], "yarn"),
    ] as [(JSONValue, String)])
  func withoutType(rope: JSONValue, guess: String) {
    let error = Laws.error { () throws(ModelError) in try parameters(rope) }
    #expect(error?.kind == .malformed && error?.tensor == "rope_scaling")
    #expect(error?.hint?.contains(guess) == true)
  }

  @Test("an object that scales nothing needs no type") func plain() throws {
    for rope in [
      [:], ["rope_theta": 5000], ["factor": 1], ["factor": .null, "rope_type": "default"],
      ["rope_type": "default", "factor": 8],
    ] as [JSONValue] {
      #expect(try parameters(rope).rope.scaling == .none)
    }
  }

  @Test(
    "Llama 3's scaling needs all its numbers",
    arguments: ["factor", "low_freq_factor", "high_freq_factor"])
  func incomplete(key: String) {
    let rope: JSONValue = [
      "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
    ]
    let error = Laws.error { () throws(ModelError) in
      try parameters(rope.overridden(by: .object([.init(key, .null)])))
    }
    #expect(error?.kind == .malformed && error?.tensor == key)
  }

  @Test("as in transformers, rope_scaling comes before rope_parameters") func bothObjects() throws {
    let old: JSONValue = ["rope_type": "linear", "factor": 4]
    let both = try parameters(
      old, with: ["rope_parameters": ["rope_type": "default", "rope_theta": 777]])
    #expect(both.rope.scaling == .linear(factor: 4) && both.rope.base == nil)
    for empty in [.null, [:]] as [JSONValue] {
      let newer = try parameters(
        empty, with: ["rope_parameters": ["rope_type": "linear", "factor": 2, "rope_theta": 777]])
      #expect(newer.rope.scaling == .linear(factor: 2) && newer.rope.base == 777)
    }
    let layers: JSONValue = [
      "full_attention": ["rope_type": "default", "rope_theta": 888],
      "sliding_attention": ["rope_type": "default", "rope_theta": 99],
    ]
    let gemma = try parameters(old, type: "gemma3_text", with: ["rope_parameters": layers]).rope
    #expect(gemma.scaling == .linear(factor: 4) && gemma.base == 888 && gemma.slidingBase == 99)
  }

  @Test("a scaling of sliding layers is unsupported") func sliding() {
    let rope: JSONValue = [
      "full_attention": ["rope_type": "linear", "factor": 8],
      "sliding_attention": ["rope_type": "linear", "factor": 2],
    ]
    let error = Laws.error { () throws(ModelError) in try parameters(rope, type: "gemma3_text") }
    #expect(error?.kind == .unsupported && error?.tensor == "sliding_attention")
  }
}
