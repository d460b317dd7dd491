// Labels in the language of the page. Rekognition's are English; the frequent ones have a French word here.

import { language } from "/words.js";

const FRENCH = {
  adult: "adulte", airplane: "avion", animal: "animal", architecture: "architecture", art: "art", autumn: "automne",
  baby: "bébé", balloon: "ballon", beach: "plage", bicycle: "vélo", bird: "oiseau", black: "noir",
  beige: "beige", "black and white": "noir et blanc", blossom: "floraison", blue: "bleu", boat: "bateau", book: "livre", bright: "clair",
  brown: "brun", building: "bâtiment", bus: "bus", cake: "gâteau", car: "voiture", castle: "château", cat: "chat",
  child: "enfant", church: "église", city: "ville", cloud: "nuage", clothing: "vêtements", coast: "côte", coffee: "café",
  "coffee cup": "tasse à café", colorful: "coloré", "cool colors": "couleurs froides", cream: "crème", crowd: "foule",
  cyan: "cyan", dark: "sombre", dawn: "aube", "dark blue": "bleu foncé", "dark green": "vert foncé", day: "jour",
  dessert: "dessert", dog: "chien", drink: "boisson", dusk: "crépuscule", face: "visage", field: "champ", fire: "feu",
  fish: "poisson", flower: "fleur", food: "nourriture", forest: "forêt", fruit: "fruit", furniture: "meubles",
  garden: "jardin", girl: "fille", gold: "doré", grass: "herbe", gray: "gris", green: "vert", grove: "bosquet",
  "high contrast": "contrasté", hill: "colline", home: "maison", horizon: "horizon", horse: "cheval", house: "maison",
  ice: "glace", indoors: "intérieur", insect: "insecte", lake: "lac", landscape: "paysage",
  "landscape format": "format paysage", leaf: "feuille", light: "lumière", "light blue": "bleu clair",
  "light green": "vert clair", "low contrast": "peu contrasté", lowlight: "faible lumière", male: "homme", man: "homme",
  maroon: "bordeaux",  meal: "repas", monochrome: "monochrome", moon: "lune", mountain: "montagne", museum: "musée", music: "musique",
  muted: "tons doux", nature: "nature", navy: "bleu marine", night: "nuit", ocean: "océan", olive: "vert olive",
  orange: "orange",  outdoors: "plein air", panorama: "panorama", park: "parc", people: "personnes", person: "personne", pink: "rose",
  plain: "uni", plant: "plante", portrait: "portrait", "portrait format": "format portrait", purple: "violet", rain: "pluie", red: "rouge",
  river: "rivière", road: "route", rock: "roche", sand: "sable", scenery: "paysage", sea: "mer", shore: "rivage",
  silhouette: "silhouette", sky: "ciel", smile: "sourire", snow: "neige", "square format": "format carré", street: "rue",
  summer: "été", sun: "soleil", sunlight: "lumière du soleil", sunrise: "lever du soleil", sunset: "coucher de soleil",
  teal: "bleu-vert", tent: "tente", tower: "tour", town: "ville", train: "train", tree: "arbre", uniform: "uniforme",
  vegetable: "légume", vegetation: "végétation", vehicle: "véhicule", violet: "violet", "warm colors": "couleurs chaudes",
  water: "eau", weather: "météo", white: "blanc", window: "fenêtre", winter: "hiver", woman: "femme", yellow: "jaune",
};

/** The name of a label; the English one if there is no word for it. */
export function labelName(label) {
  const name = label.toLowerCase();
  return (language === "fr" && Object.hasOwn(FRENCH, name) && FRENCH[name]) || name;
}

export function hashtag(label) {
  return `#${labelName(label)}`;
}
