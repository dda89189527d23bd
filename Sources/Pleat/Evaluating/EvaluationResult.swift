internal import Bytes

/// What an evaluation found.
public struct EvaluationResult: Sendable {
  /// How well a model predicts.
  public struct Prediction: Sendable {
    /// e to the mean loss.
    public var perplexity: Double
    /// The standard error of the perplexity, from the variance of the losses; nil for one loss.
    public var perplexityError: Double?
    /// The mean of −ln of the probability of each token, in nats.
    public var meanLoss: Double

    init(losses: [Double]) {
      let sample = Sample(losses)
      meanLoss = sample.mean
      perplexity = Platform.exponential(sample.mean)
      perplexityError = sample.error.map { [perplexity] in perplexity * $0 }
    }
  }

  /// How the predictions of a model differ from those of its base.
  public struct Comparison: Sendable {
    /// The predictions of the base.
    public var base: Prediction
    /// The divergences KL(base ‖ model) of all predictions, in nats.
    public var divergence: Sample
    /// The changes of the probabilities of the tokens of the text.
    public var probabilityChange: Sample
    /// The part of the predictions whose most probable token is the same.
    public var sameTop: Sample
    /// ln of the perplexity of the model divided by that of the base, with the error of the pairs.
    public var logRatio: Sample
    /// The predictions of the base without its adapters; nil if it has none.
    public var unadapted: Unadapted?
  }

  /// The predictions of a base without its adapters.
  public struct Unadapted: Sendable {
    /// The predictions.
    public var prediction: Prediction
    /// The divergences KL(base with adapters ‖ base) of all predictions, in nats.
    public var divergence: Sample
  }

  /// The number of predictions of a chunk.
  public let chunkLength: Int
  /// The predictions of the model.
  public var model: Prediction { Prediction(losses: scores.map(\.loss)) }
  /// The mean loss of each chunk.
  public var chunkLosses: [Double] {
    stride(from: 0, to: scores.count, by: chunkLength).map { start in
      Sample(scores[start..<start + chunkLength].map(\.loss)).mean
    }
  }
  /// The number of predictions.
  public var predictionCount: Int { scores.count }
  /// The error of the outputs of each layer, relative to those of the base; empty unless measured.
  public internal(set) var layerErrors: [Double] = []
  private let hasBase: Bool
  private var scores: [PositionScore] = []
  private var lossSum = 0.0

  init(chunkLength: Int, hasBase: Bool) {
    self.chunkLength = chunkLength
    self.hasBase = hasBase
  }

  mutating func append(_ chunk: [PositionScore]) {
    scores += chunk
    lossSum = chunk.reduce(lossSum) { $0 + $1.loss }
  }

  /// The perplexity of the chunks so far; nil before the first one.
  var perplexitySoFar: Double? {
    scores.isEmpty ? nil : Platform.exponential(lossSum / Double(scores.count))
  }

  /// The comparison with the base; nil without a base.
  public var comparison: Comparison? {
    guard hasBase else { return nil }
    let all = scores.compactMap(\.against)
    return Comparison(
      base: Prediction(losses: all.map(\.baseLoss)), divergence: Sample(all.map(\.divergence)),
      probabilityChange: Sample(all.map(\.probabilityChange)),
      sameTop: Sample(all.map { $0.isSameTop ? 1 : 0 }),
      logRatio: Sample(zip(scores, all).map { $0.loss - $1.baseLoss }),
      unadapted: Unadapted(all.compactMap(\.unadapted)))
  }
}

extension EvaluationResult.Unadapted {
  fileprivate init?(_ scores: [PositionScore.Unadapted]) {
    guard !scores.isEmpty else { return nil }
    prediction = EvaluationResult.Prediction(losses: scores.map(\.loss))
    divergence = Sample(scores.map(\.divergence))
  }
}

/// The scores of one prediction.
struct PositionScore: Sendable {
  /// −ln of the probability of the token that follows, in nats.
  var loss: Double
  /// The comparison with the base; nil without one.
  var against: Comparison?

  struct Comparison: Sendable {
    var baseLoss: Double
    var divergence: Double
    var probabilityChange: Double
    var isSameTop: Bool
    /// Those of the base without its adapters; nil if it has none.
    var unadapted: Unadapted?
  }

  struct Unadapted: Sendable {
    var loss: Double
    var divergence: Double
  }
}

/// Numbers of a kind: their mean, its standard error, and quantiles.
public struct Sample: Sendable {
  private let sorted: [Double]
  /// The mean.
  public let mean: Double
  /// The standard error of the mean: √(variance / (n − 1)); nil for one number, which has none.
  public let error: Double?
  /// The root of the mean square.
  public let rootMeanSquare: Double

  init(_ values: [Double]) {
    sorted = values.sorted()
    let count = Double(max(1, values.count))
    let mean = values.reduce(0, +) / count
    let square = values.reduce(0) { $0 + $1 * $1 } / count
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
    self.mean = mean
    rootMeanSquare = square.squareRoot()
    error = values.count > 1 ? (variance / (count - 1)).squareRoot() : nil
  }

  /// The smallest number.
  public var least: Double { sorted.first ?? 0 }
  /// The largest number.
  public var largest: Double { sorted.last ?? 0 }

  /// A quantile, by linear interpolation between the two numbers around it.
  ///
  /// - Parameter part: The part of the numbers that are below it, from 0 to 1.
  /// - Returns: The quantile; 0 without numbers.
  public func quantile(_ part: Double) -> Double {
    guard sorted.count > 1 else { return sorted.first ?? 0 }
    let place = part * Double(sorted.count - 1)
    let index = min(Int(place), sorted.count - 2)
    let rest = place - Double(index)
    return (1 - rest) * sorted[index] + rest * sorted[index + 1]
  }
}
