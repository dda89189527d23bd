package import Bytes

/// What llama.cpp computes for an architecture, whatever a file states.
package struct RuntimeTraits: Sendable {
  /// A function that a feed-forward network applies.
  package struct Activation: Sendable {
    /// The key of `config.json` that names the function.
    package let key: String
    /// Its name in transformers, which is the default there.
    package let name: String
    /// Its other names in transformers.
    package let synonyms: Set<String>
    /// Whether transformers ignored the key in some versions, so that a config may be wrong.
    package var isUnreliable = false

    /// The square of the rectified linear unit.
    package static let squaredReLU = Activation(key: "hidden_act", name: "relu2", synonyms: [])

    /// The expanded integral of the exponential linear unit (arXiv 2411.13010).
    package static let xIELU = Activation(key: "hidden_act", name: "xielu", synonyms: [])

    /// The sigmoid linear unit.
    package static let silu = Activation(key: "hidden_act", name: "silu", synonyms: ["swish"])

    /// The Gaussian error linear unit, approximated with the hyperbolic tangent.
    package static let gelu = Activation(
      key: "hidden_activation", name: "gelu_pytorch_tanh",
      synonyms: ["gelu_new", "gelu_fast", "gelu_python_tanh", "gelu_accurate"])

    /// The same under the key that most architectures have.
    package static let usualGelu = Activation(
      key: "hidden_act", name: gelu.name, synonyms: gelu.synonyms)

    /// The same approximation in place of the exact function, which encoders have.
    package static func exactGelu(key: String) -> Activation {
      Activation(key: key, name: "gelu", synonyms: gelu.synonyms.union([gelu.name, "gelu_python"]))
    }

    /// The same for the first Gemma, whose configs also call it `gelu`.
    package static let firstGelu = Activation(
      key: "hidden_act", name: gelu.name, synonyms: gelu.synonyms.union(["gelu"]),
      isUnreliable: true)
  }

  /// What llama.cpp does in layers that attend to the last positions only.
  package enum SlidingAttention: Sendable {
    /// No model of the architecture has such layers.
    case none
    /// All layers are such layers, but attend to all positions. A config may leave the window out.
    case ignored(defaultWindow: Int?)
    /// A model has such layers if `use_sliding_window` is true. llama.cpp does not support it.
    case unsupported
    /// All layers are such layers except each one after a period, unless the file lists them.
    case alternating(period: Int)
    /// The first layer and each one after a period are not such layers, unless the file lists them.
    case alternatingAfterFirst(period: Int)
  }

  /// The function of the feed-forward network.
  package var activation = Activation.silu
  /// The tensors that may have a bias.
  package var biases: Set<String> = Self.attentionInputs
  /// The tensors that always have a bias, also in transformers.
  package var requiredBiases: Set<String> = []
  /// The keys of `config.json` that say whether tensors have a bias, and these tensors.
  package var biasKeys: [(key: String, tensors: Set<String>)] = []
  /// The ways to scale rotary embeddings.
  package var ropeScalings: Set<RopeParameters.Kind> = [.linear, .dynamic, .yarn]
  /// Whether the limits of YaRN are rounded to whole pairs, also if a config says that they are not.
  package var roundsYarnLimits = false
  /// Whether only the first numbers of a head may be rotated.
  package var rotatesPartly = false
  /// Whether the heads of queries must have as many rows together as the model is wide.
  package var headsFillWidth = false
  /// What becomes of sliding attention.
  package var sliding = SlidingAttention.none
  /// Whether logits and attention are always capped, so that a config cannot leave the caps out.
  package var alwaysCaps = false
  /// Whether scores are divided by `query_pre_attn_scalar` instead of the size of a head.
  package var scalesQueries = false
  /// The number of layers for which llama.cpp divides scores by the width of all heads instead.
  package var widthScaledLayerCount: Int?

  /// The values of `use_bidirectional_attention` that llama.cpp computes for text, besides false.
  package var bidirectionalKinds: [JSONValue] = []
  /// Whether the pooled vector goes through dense layers.
  package var appliesDenseLayers = false

  /// The keys of `config.json` that llama.cpp does not compute all values of.
  package var limits: [ConfigLimit] = []
  /// The same for keys that add tensors which the tables do not have.
  package var tensorLimits: [ConfigLimit] = []
  /// A note about what neither llama.cpp nor mlx-lm computes, and what matters for few models; nil
  /// for a config that does not ask for it.
  package var note: @Sendable (_ config: JSONValue) -> String? = { _ in nil }

  /// The same traits with other sliding attention.
  package func sliding(_ sliding: SlidingAttention) -> RuntimeTraits {
    var traits = self
    traits.sliding = sliding
    return traits
  }

  /// The key in GGUF of the number that norms add to the variance.
  package static let layerNormEpsilon = "attention.layer_norm_epsilon"
  /// The projections to queries, keys and values.
  package static let attentionInputs: Set<String> = ["attn_q", "attn_k", "attn_v"]
  /// All projections of attention.
  package static let attention = attentionInputs.union(["attn_output"])
  /// All projections of a feed-forward network.
  package static let feedForward: Set<String> = ["ffn_gate", "ffn_up", "ffn_down"]
}
