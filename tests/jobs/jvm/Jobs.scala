package jvm

import java.util.{Map => JavaMap}
import java.util.function.BiFunction

import org.apache.spark.SparkContext
import org.apache.spark.sql.SparkSession

case class Person(name: String, age: Int)

object Flavour { val text = "FLAVOUR" }

abstract class Job extends BiFunction[SparkSession, JavaMap[String, Object], Object]

/** Answers with what it got. */
class Echo extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = config
}

/** Results of many types. */
class Types extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = Map(
    "decimal" -> new java.math.BigDecimal("1.50"), "nan" -> Double.NaN, "date" -> java.time.LocalDate.of(2020, 1, 2),
    "some" -> Some("a"), "none" -> None, "tuple" -> (("a", 1)), "set" -> Set(1), "bytes" -> Array[Byte](1, 2), "case" -> Person("Ann", 5),
    "rows" -> session.range(2).toDF("n").collect())
}

/** Spark work whose results are objects of the jar's own classes. */
class People extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = {
    import session.implicits._
    val context = SparkContext.getOrCreate()
    Map("rdd" -> context.parallelize(1 to 3, 2).map(n => Person(s"p$n", n)).collect().sortBy(_.age),
      "dataset" -> session.range(2).map(n => Person("q", n.toInt)).collect())
  }
}

/** A Dataset is a result too. */
class Table extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = {
    import session.implicits._
    session.range(2).map(n => Person("t", n.toInt))
  }
}

/** The code that runs on the driver and on executors; the view that a Python job left. */
class Taste extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = {
    val executors = session.sparkContext.parallelize(1 to 4, 2).map(_ => Flavour.text).distinct().collect()
    Map("driver" -> Flavour.text, "executors" -> executors)
  }
}

class CountView extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = session.table("shared_view").count(): java.lang.Long
}

class Fails extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = throw new IllegalStateException("as asked")
}

class Forever extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = {
    println("spinning")
    while (true) {}
    null
  }
}

/** Returns what has no JSON form. */
class Unfit extends Job {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = new Object
}

class NoJob

object Main {
  def main(args: Array[String]): Unit = {
    println(s"counted ${SparkContext.getOrCreate().parallelize(1 to 7).count()} for ${args.mkString(" and ")}")
    System.out.println("said by Java")
  }
}
