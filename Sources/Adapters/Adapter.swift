package import Bytes
public import TensorModel

/// Changes of a model's weights that were trained apart from it, as its file states them.
///
/// Names and shapes only: `UpdateReader` reads the numbers.
public struct Adapter: Sendable {
  /// The path as it was given, or the name under which a model carries it.
  public let path: String
  /// Whose file it is.
  public let kind: AdapterKind
  /// The tensors of the file.
  public let tensors: [TensorInfo]
  /// What it changes, in file order.
  package var changes: [AdapterChange]
  /// How the inputs of groups were pooled in training, where the file tells.
  public var pooling: Pooling?
  /// What a user should know before it is used.
  public var notes: [String] = []

  /// An adapter with nothing known but its tensors.
  package init(_ contents: AdapterContents, _ kind: AdapterKind) {
    path = contents.path
    self.kind = kind
    tensors = contents.tensors
    changes = []
    pooling = contents.pooling
  }
}

/// An adapter file before it is understood.
package struct AdapterContents: Sendable {
  /// The path as it was given, or the name under which a model carries it.
  package var path: String
  /// The document beside the tensors; of a GGUF file its metadata as an object; null when absent.
  package var config: JSONValue
  /// The tensors.
  package var tensors: [TensorInfo]
  /// How inputs were pooled, where something other than the config tells.
  package var pooling: Pooling?

  package init(path: String, config: JSONValue, tensors: [TensorInfo], pooling: Pooling? = nil) {
    self.path = path
    self.config = config
    self.tensors = tensors
    self.pooling = pooling
  }
}

/// What an adapter does to one tensor of the base.
package struct AdapterChange: Sendable, Hashable {
  /// What is done.
  package enum Operation: Sendable, Hashable {
    /// A product of two thin matrices is added.
    case lowRank(LowRank)
    /// A vector is added, times a scale.
    case vector(tensor: Int, scale: Double)
    /// The tensor is another one.
    case replacement(tensor: Int)
  }

  /// A tensor that may be meant, in the words of the adapter's own tool.
  package struct Candidate: Sendable, Hashable {
    /// The name.
    package var target: String
    /// What is done to it.
    package var operation: Operation
  }

  /// The tensors that may be meant: one, but for parameters that only their shapes tell apart.
  package var candidates: [Candidate]

  package init(_ target: String, _ operation: Operation) {
    candidates = [Candidate(target: target, operation: operation)]
  }

  package init(_ candidates: [Candidate]) { self.candidates = candidates }
}

/// W + scale · L · R, where `rank` is the number of columns of L and of rows of R.
///
/// For a linear layer of PEFT, L is `lora_B` and R is `lora_A`.
package struct LowRank: Sendable, Hashable {
  /// The factor that has the rows of the base.
  package var left: Factor
  /// The factor that has the columns of the base, or one for each group of them.
  package var right: Factor
  /// The length of the sums.
  package var rank: Int
  /// What the product is multiplied with: alpha / rank, or alpha / √rank.
  package var scale: Double
  /// How many matrices are stacked, each with factors of its own.
  package var expertCount = 1
  /// Columns that share one pooled input, as the config says; nil where it says nothing.
  package var groupSize: Int?
  /// Which way round the base stores its weights.
  package var orientation = Orientation.straight
  /// Whether the base stores the weight the other way round than the adapter's tool thinks of it.
  package var isTransposed = false
  /// The tensor with the length of each row, of DoRA.
  package var magnitude: Int?

  /// The same product for a base whose rows are this one's columns.
  package var transposed: LowRank {
    var other = self
    swap(&other.left, &other.right)
    return other
  }
}

/// Which way round a base stores the weights that a low-rank product is added to.
package enum Orientation: Sendable, Hashable {
  /// One row for each output.
  case straight
  /// One row for each input, where that fits; else one for each output.
  case transposedFirst
  /// Whichever fits.
  case either
}

/// Where the numbers of a factor are in a tensor.
package struct Factor: Sendable, Hashable {
  /// The index of the tensor in the adapter.
  package var tensor: Int
  /// The number of lines: rows of a left factor, columns of a right one.
  package var lineCount: Int
  /// From a number to the next one of the same expert and rank, in elements.
  package var lineStride: Int
  /// From a number to the next one of the same expert and line.
  package var rankStride: Int
  /// From a number to the same one of the next expert.
  package var expertStride = 0

  package init(
    tensor: Int, lineCount: Int, lineStride: Int, rankStride: Int, expertStride: Int = 0
  ) {
    self.tensor = tensor
    self.lineCount = lineCount
    self.lineStride = lineStride
    self.rankStride = rankStride
    self.expertStride = expertStride
  }

  /// A matrix with one line after another, each of `rank` numbers.
  static func lines(_ tensor: Int, count: Int, rank: Int) -> Factor {
    Factor(tensor: tensor, lineCount: count, lineStride: rank, rankStride: 1)
  }

  /// A matrix with one number of every line after another, `rank` times.
  static func ranks(_ tensor: Int, count: Int) -> Factor {
    Factor(tensor: tensor, lineCount: count, lineStride: 1, rankStride: count)
  }
}
