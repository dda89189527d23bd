package import Bytes
public import TensorModel

/// An adapter: changes of a model's weights that were trained and stored separately.
///
/// It holds names and shapes only. `UpdateReader` reads the numbers.
public struct Adapter: Sendable {
  /// The path as the user gave it, or the name under which a model carries the adapter.
  public let path: String
  /// The tool that wrote the file.
  public let kind: AdapterKind
  /// The tensors of the file.
  public let tensors: [TensorInfo]
  /// The changes, in file order.
  package var changes: [AdapterChange]
  /// How the inputs of groups were pooled in training; nil if the file does not state it.
  public var pooling: Pooling?
  /// Notes for the user before the adapter is applied.
  public var notes: [String] = []
  /// Whether a change of the embeddings is also one of the head, if the base model ties them.
  package var tiesEmbeddings = false

  /// Creates an adapter without changes.
  package init(_ contents: AdapterContents, _ kind: AdapterKind) {
    path = contents.path
    self.kind = kind
    tensors = contents.tensors
    changes = []
    pooling = contents.pooling
  }
}

/// The contents of an adapter file before they are interpreted.
package struct AdapterContents: Sendable {
  /// The path as the user gave it, or the name under which a model carries the adapter.
  package var path: String
  /// The config beside the tensors, or the metadata of a GGUF file as an object; null if absent.
  package var config: JSONValue
  /// The tensors.
  package var tensors: [TensorInfo]
  /// How inputs were pooled, if another source than the config states it.
  package var pooling: Pooling?

  package init(path: String, config: JSONValue, tensors: [TensorInfo], pooling: Pooling? = nil) {
    self.path = path
    self.config = config
    self.tensors = tensors
    self.pooling = pooling
  }
}

/// A change of one tensor of the base model.
package struct AdapterChange: Sendable, Hashable {
  /// The kind of change.
  package enum Operation: Sendable, Hashable {
    /// Adds a product of two thin matrices.
    case lowRank(LowRank)
    /// Adds a vector times a scale.
    case vector(tensor: Int, scale: Double)
    /// Replaces the tensor by a tensor of the adapter.
    case replacement(tensor: Int)
    /// Replaces the rows of the given indices, in their order, by the rows of a tensor.
    case rows(tensor: Int, indices: [Int])
  }

  /// A tensor that the change may be meant for.
  package struct Candidate: Sendable, Hashable {
    /// The name of the tensor, as the adapter's tool writes it.
    package var target: String
    /// The change of this tensor.
    package var operation: Operation
  }

  /// The possible targets; several if only their shapes can tell which one is meant.
  package var candidates: [Candidate]

  package init(_ target: String, _ operation: Operation) {
    candidates = [Candidate(target: target, operation: operation)]
  }

  package init(_ candidates: [Candidate]) { self.candidates = candidates }
}

/// The change W + scale · L · R, where L has `rank` columns and R has `rank` rows.
///
/// For a linear layer of PEFT, L is `lora_B` and R is `lora_A`.
package struct LowRank: Sendable, Hashable {
  /// L, which has one vector for each row of the base tensor.
  package var left: Factor
  /// R, which has one vector for each column of the base tensor, or for each group of columns.
  package var right: Factor
  /// The number of columns of L and of rows of R.
  package var rank: Int
  /// The factor of the product, such as alpha / rank or alpha / √rank.
  package var scale: Double
  /// The number of stacked matrices, each of which has its own factors.
  package var expertCount = 1
  /// The number of columns that share one pooled input; nil if the config does not state it.
  package var groupSize: Int?
  /// Whether the base model may store the weight transposed.
  package var orientation = Orientation.straight
  /// Whether the base model stores the transpose of the weight that the adapter's tool trains.
  package var isTransposed = false
  /// The index of the tensor with the DoRA magnitude of each row.
  package var magnitude: Int?

  /// The product for the transposed base tensor.
  package var transposed: LowRank {
    var other = self
    swap(&other.left, &other.right)
    return other
  }
}

/// How the base model may store a weight that a low-rank product is added to.
package enum Orientation: Sendable, Hashable {
  /// One row for each output.
  case straight
  /// One row for each input, if that fits; otherwise one row for each output.
  case transposedFirst
  /// For a stack, either way, whichever fits; if both fit, the rule of the adapter's tool for square
  /// stacks, or nil if its version, and so the rule, is unknown. For a matrix, one row for each
  /// output.
  case either(SquareStacks?)

  /// Which way square stacks of experts are stored, by the version of PEFT.
  package enum SquareStacks: Sendable, Hashable {
    /// A row for each input, whatever the model: before 0.19.
    case transposed
    /// The reverse of what the model does: 0.19.0.
    case reversed
    /// As the model does: since 0.19.1.
    case asInModel
  }
}

/// The layout of a factor in a tensor.
///
/// The vectors of a left factor are its rows, those of a right factor its columns.
package struct Factor: Sendable, Hashable {
  /// The index of the tensor in the adapter.
  package var tensor: Int
  /// The number of vectors.
  package var vectorCount: Int
  /// The distance in elements from a number to the same number of the next vector.
  package var vectorStride: Int
  /// The distance in elements from a number to the next number of the same vector.
  package var rankStride: Int
  /// The distance in elements from a number to the same number of the next expert.
  package var expertStride = 0
  /// The index of the first element.
  package var offset = 0

  package init(
    tensor: Int, vectorCount: Int, vectorStride: Int, rankStride: Int, expertStride: Int = 0
  ) {
    self.tensor = tensor
    self.vectorCount = vectorCount
    self.vectorStride = vectorStride
    self.rankStride = rankStride
    self.expertStride = expertStride
  }

  /// A matrix that stores one vector after another, each with `rank` numbers.
  static func vectors(_ tensor: Int, count: Int, rank: Int) -> Factor {
    Factor(tensor: tensor, vectorCount: count, vectorStride: rank, rankStride: 1)
  }

  /// A matrix that stores the first number of every vector, then the second number, and so on.
  static func ranks(_ tensor: Int, count: Int) -> Factor {
    Factor(tensor: tensor, vectorCount: count, vectorStride: 1, rankStride: count)
  }
}
