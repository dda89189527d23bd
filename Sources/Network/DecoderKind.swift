internal import Architectures
internal import Kernels
internal import TensorModel

/// What a decoder of some model types computes that its tables of tensors do not tell.
///
/// The definition is the code of these models in transformers.
struct DecoderKind: Sendable {
  /// The values of `model_type`.
  let modelTypes: Set<String>
  /// llama.cpp's name, if architectures with the same model type are of different kinds.
  var ggufName: String?
  /// Whether the pairs of numbers that are rotated are neighbours in a checkpoint.
  var rotatesNeighbours = false
  /// Whether embeddings are multiplied by the square root of the width.
  var scalesEmbeddings = false
  /// Whether norms of queries and keys come after the rotation.
  var normsAfterRotation = false
  /// Whether queries and keys that are rotated are normed without weights, by `use_qk_norm`.
  var normsRotatedHeads = false
  /// Whether values are normed without weights.
  var normsValues = false
  /// The function of the gates after attention.
  var gateFunction = ActivationFunction.sigmoid
  /// The factor of scores; nil for the one that follows from the size of a head, or from a config.
  var scoreScale: Float?
  /// Whether tokens have several states, of which layers compute one and predict the others.
  var alternatesUpdates = false
  /// Whether norms of hidden numbers have no weights.
  var lacksNormWeights = false
  /// llama.cpp's name for the norm after all layers.
  var outputNorm = "output_norm"
  /// Whether layers with sliding attention have unscaled angles.
  var slidingIsUnscaled = false
  /// Whether norms keep the mean although llama.cpp's key is that of norms that subtract it.
  var keepsMeans = false
  /// Which layers rotate queries and keys.
  var rotation = Rotation.all
  /// Whether the first layers, which have no experts, rotate in any case.
  var rotatesLeading = false
  /// Whether queries grow with their position in layers that do not rotate.
  var growsQueries = false
  /// Whether the inputs of experts are multiplied by their weights, and not their outputs.
  var weighsExpertInputs = false
  /// Whether the outputs of chosen and of shared experts are averaged, and not added.
  var averagesExperts = false
  /// What is added to the sum of weights before they are divided by it.
  var weightSumAddend: Float = 0
  /// Whether the gates of experts limit their inputs, as in gpt-oss.
  var clampsGate = false
  /// Whether heads of values with states share a key in turn, in the order of llama.cpp.
  var alternatesHeads = false
  /// Whether time steps are at least `time_step_min`.
  var limitsSteps = false
  /// How experts are chosen; nil without experts.
  var router: Router?
  /// llama.cpp's name for the norm before the feed-forward network.
  var feedForwardNorm = "ffn_norm"
  /// More keys whose values it computes although llama.cpp does not.
  var otherKeys: Set<String> = []

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
    /// None of them.
    case none
  }

  /// How the experts of a token are chosen: those with the largest scores, of equal ones the first.
  enum Router: Sendable {
    /// Scores are logits. Weights are the softmax of those of the chosen experts.
    case softmaxOfChosen
    /// Scores, and weights, are the softmax of all logits.
    case softmax(Normalization)
    /// Scores, and weights, are the sigmoids of logits.
    case sigmoid(Normalization)
    /// The sigmoids of logits or `softmaxOfChosen`, by `expert_selection_fn`.
    case byConfig
  }

  /// Whether the weights of the chosen experts are divided by their sum.
  enum Normalization: Sendable {
    /// They are.
    case always
    /// They are if the flag `norm_topk_prob` is true; a config that lacks it has a default.
    case stated(default: Bool)
    /// They are not, and a config that asks for it is refused.
    case never
  }

  /// The key of a config with this flag.
  static let normalizationKey = "norm_topk_prob"

  /// The keys whose values it computes although llama.cpp does not.
  var computedKeys: Set<String> {
    switch router {
    case .softmax(.stated), .sigmoid(.stated): otherKeys.union([Self.normalizationKey])
    case .softmaxOfChosen, .byConfig, .softmax, .sigmoid, nil: otherKeys
    }
  }

  /// The kind of an architecture; nil if Pleat does not run it.
  static func of(_ architecture: Architecture) -> DecoderKind? {
    guard !architecture.isEncoder, !architecture.traits.appliesDenseLayers
    else { return nil }
    return all.first {
      $0.modelTypes.contains(architecture.modelTypes[0])
        && ($0.ggufName ?? architecture.ggufName) == architecture.ggufName
    }
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
    // With states, and before the kind without them.
    DecoderKind(
      modelTypes: ["granitemoehybrid"], ggufName: "granitehybrid", rotation: .none,
      router: .softmaxOfChosen),
    DecoderKind(modelTypes: ["falcon_h1", "mamba2"]),
    DecoderKind(
      modelTypes: ["nemotron_h"], keepsMeans: true, rotation: .none, limitsSteps: true,
      router: .sigmoid(.stated(default: true))),
    DecoderKind(modelTypes: [
      "llama", "mistral", "ministral3", "internlm3", "qwen2", "qwen3", "phi3", "olmo2", "granite",
      "granitemoehybrid", "arcee", "starcoder2", "nemotron", "phi", "stablelm", "jais2",
      "apertus",
      "qwen2_vl", "qwen3_vl",
    ]),
    DecoderKind(modelTypes: ["gemma", "gemma2"], scalesEmbeddings: true),
    DecoderKind(modelTypes: ["gemma3_text"], scalesEmbeddings: true, slidingIsUnscaled: true),
    DecoderKind(
      modelTypes: ["gemma4_text", "gemma4_unified_text"], scalesEmbeddings: true, normsValues: true,
      scoreScale: 1, slidingIsUnscaled: true, router: .softmax(.always)),
    DecoderKind(
      modelTypes: ["gemma3n_text"], scalesEmbeddings: true, normsValues: true, scoreScale: 1,
      alternatesUpdates: true, slidingIsUnscaled: true,
      otherKeys: [
        DecoderShape.sparsityKey, "num_kv_shared_layers", "hidden_size_per_layer_input",
        "final_logit_softcapping",
      ]),
    DecoderKind(modelTypes: ["olmo"], lacksNormWeights: true),
    DecoderKind(modelTypes: ["lfm2"], outputNorm: "token_embd_norm"),
    DecoderKind(modelTypes: ["olmo3"], slidingIsUnscaled: true),
    DecoderKind(modelTypes: ["smollm3"], rotation: .listed),
    DecoderKind(modelTypes: ["seed_oss"], feedForwardNorm: "post_attention_norm"),
    DecoderKind(
      modelTypes: ["qwen3_5_text"], alternatesHeads: true, feedForwardNorm: "post_attention_norm"),
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
      modelTypes: ["laguna"], gateFunction: .softplus, slidingIsUnscaled: true,
      router: .sigmoid(.always)),
    DecoderKind(modelTypes: ["qwen3_vl_moe"], router: .softmax(.always)),
    DecoderKind(
      modelTypes: ["ernie4_5_moe"], rotatesNeighbours: true, router: .softmax(.always)),
    DecoderKind(
      modelTypes: ["hunyuan_v1_moe"], normsAfterRotation: true, router: .softmax(.always)),
    DecoderKind(
      modelTypes: ["qwen3_next"], router: .softmax(.stated(default: true)),
      feedForwardNorm: "post_attention_norm"),
    DecoderKind(
      modelTypes: ["qwen3_5_moe_text"], alternatesHeads: true, router: .softmax(.always),
      feedForwardNorm: "post_attention_norm"),
    DecoderKind(modelTypes: ["minimax_m2", "hy_v3"], router: .sigmoid(.always)),
    DecoderKind(modelTypes: ["dots1"], router: .sigmoid(.stated(default: false))),
    DecoderKind(
      modelTypes: ["bailing_moe"], ggufName: "bailingmoe", router: .softmax(.stated(default: true))),
    DecoderKind(
      modelTypes: ["bailing_moe"], ggufName: "bailingmoe2",
      router: .sigmoid(.stated(default: true))),
    DecoderKind(
      modelTypes: ["glm4_moe", "solar_open"], router: .sigmoid(.stated(default: true)),
      feedForwardNorm: "post_attention_norm"),
    DecoderKind(
      modelTypes: ["gpt_oss"], clampsGate: true, router: .softmaxOfChosen,
      feedForwardNorm: "post_attention_norm"),
    DecoderKind(
      modelTypes: ["deepseek_v2"], rotatesNeighbours: true, router: .softmax(.never),
      otherKeys: [DecoderShape.selectionKey, "n_group", "rope_scaling"]),
    DecoderKind(
      modelTypes: ["deepseek_v3", "glm4_moe_lite"], rotatesNeighbours: true,
      router: .sigmoid(.stated(default: true)), otherKeys: ["rope_scaling"]),
    DecoderKind(
      modelTypes: ["afmoe"], scalesEmbeddings: true, rotation: .sliding,
      router: .sigmoid(.always)),
    DecoderKind(
      modelTypes: ["cohere2_moe"], rotatesNeighbours: true, rotation: .sliding,
      rotatesLeading: true, averagesExperts: true, router: .byConfig),
    DecoderKind(
      modelTypes: ["lfm2_moe"], outputNorm: "token_embd_norm", weightSumAddend: 1e-6,
      router: .sigmoid(.always)),
    DecoderKind(
      modelTypes: ["llama4_text"], rotatesNeighbours: true, normsAfterRotation: true,
      normsRotatedHeads: true, rotation: .listed, growsQueries: true, weighsExpertInputs: true,
      router: .sigmoid(.never)),
    DecoderKind(
      modelTypes: ["exaone_moe"], rotation: .sliding, router: .sigmoid(.stated(default: true))),
  ]
}
