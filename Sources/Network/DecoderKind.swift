internal import Architectures
internal import TensorModel

/// What a decoder of some model types computes that its tables of tensors do not tell.
///
/// The definition is the code of these models in transformers.
struct DecoderKind: Sendable {
  /// The values of `model_type`.
  let modelTypes: Set<String>
  /// Whether the pairs of numbers that are rotated are neighbours in a checkpoint.
  var rotatesNeighbours = false
  /// Whether embeddings are multiplied by the square root of the width.
  var scalesEmbeddings = false
  /// Whether norms of queries and keys come after the rotation.
  var normsAfterRotation = false
  /// Whether layers with sliding attention have unscaled angles.
  var slidingIsUnscaled = false
  /// Which layers rotate queries and keys.
  var rotation = Rotation.all
  /// How experts are chosen; nil without experts.
  var router: Router?
  /// llama.cpp's name for the norm before the feed-forward network.
  var feedForwardNorm = "ffn_norm"

  /// Which layers rotate queries and keys.
  enum Rotation: Sendable {
    /// All of them.
    case all
    /// All but every fourth one, or as `no_rope_layers` says, where 0 means that a layer does not.
    case listed
    /// Those with sliding attention.
    case sliding
    /// Those with sliding attention; all without a window.
    case slidingIfAny
  }

  /// How the experts of a token are chosen: those with the largest scores, of equal ones the first.
  enum Router: Sendable {
    /// Scores are logits. Weights are the softmax of those of the chosen experts.
    case softmaxOfChosen
    /// Scores, and weights, are the softmax of all logits.
    case softmax(Normalization)
    /// Scores, and weights, are the sigmoids of logits.
    case sigmoid(Normalization)
  }

  /// Whether the weights of the chosen experts are divided by their sum.
  enum Normalization: Sendable {
    /// They are.
    case always
    /// They are if the flag `norm_topk_prob` is true; a config that lacks it has a default.
    case stated(default: Bool)
  }

  /// The key of a config with this flag.
  static let normalizationKey = "norm_topk_prob"

  /// The keys whose values it computes although llama.cpp does not.
  var computedKeys: Set<String> {
    switch router {
    case .softmax(.stated), .sigmoid(.stated): [Self.normalizationKey]
    case .softmaxOfChosen, .softmax(.always), .sigmoid(.always), nil: []
    }
  }

  /// The kind of an architecture; nil if Pleat does not run it.
  static func of(_ architecture: Architecture) -> DecoderKind? {
    guard architecture.arrangements.isEmpty, architecture.stateSpace == nil,
      !architecture.hasLatentAttention, architecture.variedLayers == nil,
      !architecture.isEncoder
    else { return nil }
    return all.first { $0.modelTypes.contains(architecture.modelTypes[0]) }
  }

  /// The error for a model type that Pleat does not run.
  static func refusal(of modelType: String?) -> ModelError {
    ModelError(
      .unsupported, "Pleat does not run this architecture yet", tensor: "model_type",
      expected: allModelTypes.joined(separator: ", "), found: modelType ?? "nothing")
  }

  /// The model types that Pleat runs, sorted.
  static var allModelTypes: [String] {
    Set(Architectures.all.filter { of($0) != nil }.flatMap(\.modelTypes)).sorted()
  }

  /// The kinds, by the first model type of each architecture.
  private static let all: [DecoderKind] = [
    DecoderKind(modelTypes: [
      "llama", "mistral", "ministral3", "internlm3", "qwen2", "qwen3", "phi3", "olmo2", "granite",
      "granitemoehybrid", "arcee", "starcoder2", "nemotron", "phi", "stablelm", "jais2",
      "qwen2_vl", "qwen3_vl",
    ]),
    DecoderKind(modelTypes: ["gemma", "gemma2"], scalesEmbeddings: true),
    DecoderKind(modelTypes: ["gemma3_text"], scalesEmbeddings: true, slidingIsUnscaled: true),
    DecoderKind(modelTypes: ["olmo3"], slidingIsUnscaled: true),
    DecoderKind(modelTypes: ["smollm3"], rotation: .listed),
    DecoderKind(modelTypes: ["seed_oss"], feedForwardNorm: "post_attention_norm"),
    DecoderKind(modelTypes: ["glm", "glm4", "ernie4_5", "cohere"], rotatesNeighbours: true),
    DecoderKind(modelTypes: ["cohere2"], rotatesNeighbours: true, rotation: .sliding),
    DecoderKind(modelTypes: ["exaone4"], rotation: .slidingIfAny),
    DecoderKind(modelTypes: ["hunyuan_v1_dense"], normsAfterRotation: true),

    DecoderKind(
      modelTypes: ["mixtral", "granitemoe", "granitemoeshared"], router: .softmaxOfChosen),
    DecoderKind(
      modelTypes: ["qwen2_moe", "qwen3_moe", "olmoe"], router: .softmax(.stated(default: false))),
    DecoderKind(
      modelTypes: ["mellum"], slidingIsUnscaled: true, router: .softmax(.stated(default: true))),
    DecoderKind(
      modelTypes: ["ernie4_5_moe"], rotatesNeighbours: true, router: .softmax(.always)),
    DecoderKind(
      modelTypes: ["hunyuan_v1_moe"], normsAfterRotation: true, router: .softmax(.always)),
    DecoderKind(modelTypes: ["minimax_m2", "hy_v3"], router: .sigmoid(.always)),
    DecoderKind(modelTypes: ["dots1"], router: .sigmoid(.stated(default: false))),
    DecoderKind(
      modelTypes: ["glm4_moe", "solar_open"], router: .sigmoid(.stated(default: true)),
      feedForwardNorm: "post_attention_norm"),
    DecoderKind(
      modelTypes: ["exaone_moe"], rotation: .sliding, router: .sigmoid(.stated(default: true))),
  ]
}
