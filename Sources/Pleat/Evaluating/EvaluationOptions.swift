public import Inference

/// How a text is divided, and which of its tokens count.
public struct EvaluationOptions: Sendable {
  /// Which predictions of each chunk count.
  public enum Scoring: String, Sendable, CaseIterable {
    /// Those of the second half, as llama-perplexity counts: positions ⌊n/2⌋ to n − 2 of n.
    case half
    /// All of them: positions 0 to n − 2.
    case all
  }

  /// The number of tokens of a chunk; nil for that of a file of log probabilities, or 512.
  ///
  /// What is left over at the end is not used.
  public var contextLength: Int?
  /// Which predictions count.
  public var scoring = Scoring.half
  /// Whether the first token of each chunk is replaced by the one that begins texts.
  public var beginning = TextBeginning.auto
  /// The largest number of chunks; nil for all.
  public var chunkLimit: Int?
  /// Whether the errors of each layer are measured, which needs a base.
  public var measuresLayers = false
  /// The number of threads.
  public var threadCount = Evaluation.defaultThreadCount
  /// About the number of bytes that activations may take.
  public var memoryByteCount = 1 << 30
  /// Where the log probabilities of the model are written, as llama-perplexity does; nil for nowhere.
  public var logitsPath: String?
  /// Whether an existing file at this path is replaced.
  public var replacesLogits = false

  /// The usual options.
  public init() {}
}
