import Architectures
import Bytes
import Formats
import TensorModel
import Testing

/// Factors of a config that weights in a folder of mlx-lm have already.
@Suite struct MLXFactorTests {
  private static let config: JSONValue = [
    "model_type": "falcon_h1", "embedding_multiplier": 4, "lm_head_multiplier": 2,
    "key_multiplier": .number(0.5), "mlp_multipliers": [2, 3],
  ]

  private static func tensor(_ name: String, _ shape: Shape) -> TensorInfo {
    TensorInfo(name: name, shape: shape, encoding: .plain(.bf16))
  }

  private static let moved = tensor("model.layers.0.mamba.conv1d.weight", Shape(24, 4, 1))
  private static let table = tensor("model.embed_tokens.weight", Shape(8, 4))
  private static let head = tensor("lm_head.weight", Shape(8, 4))

  @Test("weights with moved convolutions have the factors") func absorbed() throws {
    let found = try #require(
      MLXFactors.absorbed(Self.config, in: [Self.table, Self.moved, Self.head]))
    for key in ["embedding_multiplier", "lm_head_multiplier", "key_multiplier"] {
      #expect(found[key]?.double == 1, "\(key)")
    }
    #expect(found["mlp_multipliers"]?.array?.map(\.double) == [1, 1])
    #expect(found["model_type"] == "falcon_h1")
    #expect(MLXFactors.absorbed(found, in: [Self.table, Self.moved, Self.head]) == nil)
  }

  @Test("embeddings that are the head keep the quotient of both factors") func tied() throws {
    let found = try #require(MLXFactors.absorbed(Self.config, in: [Self.table, Self.moved]))
    #expect(found["embedding_multiplier"]?.double == 1)
    #expect(found["lm_head_multiplier"]?.double == 0.5)
    #expect(MLXFactors.absorbed(found, in: [Self.table, Self.moved]) == nil)
  }

  @Test("other weights do not have them") func others() {
    let plain = Self.tensor("model.layers.0.mamba.conv1d.weight", Shape(24, 1, 4))
    #expect(MLXFactors.absorbed(Self.config, in: [Self.table, plain]) == nil)
    let units: JSONValue = [
      "model_type": "falcon_h1", "key_multiplier": 1, "mlp_multipliers": [1, .number(1)],
    ]
    #expect(MLXFactors.absorbed(units, in: [Self.table, Self.moved]) == nil)
    let other = Self.config.setting("model_type", to: "mamba2")
    #expect(MLXFactors.absorbed(other, in: [Self.table, Self.moved]) == nil)
  }
}
